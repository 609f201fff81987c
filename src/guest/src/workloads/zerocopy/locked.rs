//! How much memory may be pinned for the kernel, and whether the count is ours.
//!
//! Without `CAP_IPC_LOCK` of the first user namespace, pinned pages are charged to
//! the user, whom a root of a mere user namespace shares with the host
//! (`mm_account_pinned_pages()` in net/core/skbuff.c).

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit};

use crate::context::{Stop, WorkloadResult};

/// Whose root this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// Of the machine: nothing is charged unless a test wants it.
    Machine,
    /// Of a user namespace: everything is charged to a user of the host.
    Namespace,
}

/// Whose root this process is.
///
/// # Errors
///
/// [`Stop::Error`] without `/proc`.
pub(super) fn root() -> Result<Root, Stop> {
    let link = "/proc/self/ns/user";
    let name = fs::read_link(link).map_err(|error| Stop::Error(format!("cannot read `{link}`: {error}")))?;
    Ok(root_of(&name))
}

/// `PROC_USER_INIT_INO` of include/linux/proc_ns.h never changes.
fn root_of(namespace: &Path) -> Root {
    if namespace == Path::new("user:[4026531837]") { Root::Machine } else { Root::Namespace }
}

/// Skips a test that pins `bytes` bytes where that is not permitted.
///
/// # Errors
///
/// [`Stop::Skip`] with the limit.
pub(super) fn room_for(bytes: u64) -> WorkloadResult {
    judge(root()?, getrlimit(Resource::Memlock), bytes)
}

fn judge(root: Root, limit: Rlimit, bytes: u64) -> WorkloadResult {
    match (root, limit.current) {
        (Root::Namespace, Some(limit)) if limit < bytes => Err(Stop::Skip(format!(
            "{bytes} bytes have to be pinned, and RLIMIT_MEMLOCK is {limit}; needs CAP_IPC_LOCK of the \
             machine, or ulimit -l unlimited"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Rlimit = Rlimit { current: Some(8 << 20), maximum: Some(8 << 20) };

    #[test]
    fn the_first_user_namespace_is_known_by_its_number() {
        assert_eq!(root_of(Path::new("user:[4026531837]")), Root::Machine);
        assert_eq!(root_of(Path::new("user:[4026532201]")), Root::Namespace);
    }

    #[test]
    fn root_of_the_machine_has_no_limit() {
        assert!(judge(Root::Machine, LOW, 1 << 30).is_ok());
    }

    #[test]
    fn root_of_a_namespace_has_the_limit_of_its_user() {
        assert!(judge(Root::Namespace, LOW, 8 << 20).is_ok());
        assert!(judge(Root::Namespace, Rlimit { current: None, maximum: None }, 1 << 30).is_ok());
        let Err(Stop::Skip(text)) = judge(Root::Namespace, LOW, (8 << 20) + 1) else { panic!("no skip") };
        assert!(text.contains("8388609") && text.contains("8388608"), "{text}");
    }
}
