//! The file in the cache in which the noise of this host is kept.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::pair::Place;
use crate::analysis::Measured;
use crate::analysis::noise::{Store, place};
use crate::model::NoiseOf;
use crate::results::format::Noise;
use crate::results::from_machine;
use crate::{clock, paths};

fn file(cache: &Path) -> PathBuf {
    cache.join("estimates/noise.json")
}

fn read(cache: &Path) -> Store {
    // A file that is not there, or not readable, is the same as none.
    std::fs::read(file(cache)).map(|bytes| Store::parse(&bytes)).unwrap_or_default()
}

/// What is known of a place; nothing where the cache cannot be read.
pub(super) fn known(at: &Place<'_>) -> Vec<NoiseOf> {
    let Ok(cache) = paths::cache() else { return Vec::new() };
    let of = |noise: &Noise| NoiseOf {
        test: noise.test.clone(),
        metric: noise.metric.clone(),
        relative_sd: noise.relative_sd,
        boots: noise.boots,
    };
    read(&cache).at(&place(at.host, at.accel, at.machine)).iter().map(of).collect()
}

/// What is known of the place that a run was made at.
pub(super) fn of_run(side: Measured<'_>) -> Vec<Noise> {
    let (Ok(cache), Some(key)) = (paths::cache(), key(side)) else { return Vec::new() };
    read(&cache).at(&key).to_vec()
}

/// The place of a run, if a boot of it was started.
fn key(side: Measured<'_>) -> Option<String> {
    let boot = side.run.boots.iter().find(|boot| boot.launch.kernel == side.kernel)?;
    let machine = from_machine(&boot.launch.machine);
    Some(place(&side.run.plan.host, boot.launch.accel, &machine))
}

/// Keeps what was measured; gives the place.
///
/// # Errors
///
/// Fails when the file cannot be written.
pub(super) fn keep(side: Measured<'_>, noise: Vec<Noise>) -> anyhow::Result<Option<String>> {
    let Some(key) = key(side) else { return Ok(None) };
    let cache = paths::cache()?;
    let file = file(&cache);
    let mut store = read(&cache);
    store.learn(&key, clock::unix_seconds(), noise);
    let failed = |error: &dyn std::fmt::Display| {
        anyhow::anyhow!("cannot write `{}`: {error}\nhint: make room, or set KREGRESS_CACHE", file.display())
    };
    let text = store.text().map_err(|error| failed(&error))?;
    let write = || -> std::io::Result<()> {
        let directory = file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let mut new = tempfile::NamedTempFile::new_in(directory)?;
        new.write_all(&text)?;
        new.persist(&file)?;
        Ok(())
    };
    write().map_err(|error| failed(&error))?;
    Ok(Some(key))
}
