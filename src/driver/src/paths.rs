//! Where things lie outside of the project: the cache with its store.

use std::path::PathBuf;

/// Variable that moves the cache.
pub const CACHE_VARIABLE: &str = "KREGRESS_CACHE";

/// Why there is no cache directory.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot tell where the cache is: neither `{CACHE_VARIABLE}`, `XDG_CACHE_HOME` nor `HOME` is set\n\
     hint: set `{CACHE_VARIABLE}` to a directory with a few GiB of space"
)]
pub struct NoCache;

/// The user's cache directory for kregress: `$KREGRESS_CACHE`, else
/// `$XDG_CACHE_HOME/kregress`, else `~/.cache/kregress`. Not created here.
///
/// # Errors
///
/// Fails when no variable tells.
pub fn cache() -> Result<PathBuf, NoCache> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable(CACHE_VARIABLE)
        .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("kregress")))
        .or_else(|| variable("HOME").map(|dir| dir.join(".cache/kregress")))
        .ok_or(NoCache)
}
