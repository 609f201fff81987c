//! Whether this host has a virtiofsd that virtme-ng can use.
//!
//! vng looks for one itself, takes the first that answers to `--version`, waits three
//! seconds for it, and falls back to 9p without a word. QEMU's own one, which was part of
//! it up to 7.2, answers to root and then refuses vng's options.

use std::path::{Path, PathBuf};

use super::tools;
use crate::exec::Cmd;
use crate::model::RootFs;

/// Where vng looks besides the `PATH`, in its order (virtme-ng 1.42; 1.25 knows all but
/// the second).
const PLACES: [&str; 4] = [
    "/usr/libexec/virtiofsd",
    "/usr/lib/virtiofsd/virtiofsd",
    "/usr/lib/virtiofsd",
    "/usr/lib/qemu/virtiofsd",
];

/// What vng would find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Virtiofsd {
    /// Nothing.
    Absent,
    /// One that does not take its options.
    Unfit(PathBuf),
    /// One that does.
    Usable(PathBuf),
}

/// A file system was demanded and is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`rootfs=virtiofs` was asked for, but {0}\nhint: `--machine rootfs=9p` works everywhere; the virtiofsd of https://gitlab.com/virtio-fs/virtiofsd is the one that virtme-ng takes"
)]
pub struct NoVirtiofs(String);

impl Virtiofsd {
    /// Looks for it as vng does.
    #[must_use]
    pub fn of_this_host() -> Self {
        let places = tools::on_path(Path::new("virtiofsd")).into_iter().chain(PLACES.map(PathBuf::from));
        let answers = |path: &PathBuf| path.is_file() && Cmd::new(path).arg("--version").read().is_ok();
        let Some(path) = places.into_iter().find(answers) else { return Self::Absent };
        let help = Cmd::new(&path).arg("--help").run();
        let text =
            help.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        if takes_options_of_vng(&text) { Self::Usable(path) } else { Self::Unfit(path) }
    }

    /// Which file system a guest of virtme-ng has for its root.
    ///
    /// # Errors
    ///
    /// Fails when virtiofs was demanded and there is nobody to serve it.
    pub fn choose(&self, wanted: RootFs) -> Result<RootFs, NoVirtiofs> {
        match (wanted, self) {
            (RootFs::NineP, _) => Ok(RootFs::NineP),
            (RootFs::Auto | RootFs::Virtiofs, Self::Usable(_)) => Ok(RootFs::Virtiofs),
            (RootFs::Auto, _) => Ok(RootFs::NineP),
            (RootFs::Virtiofs, Self::Absent) => Err(NoVirtiofs("this host has no virtiofsd".to_owned())),
            (RootFs::Virtiofs, Self::Unfit(path)) => Err(NoVirtiofs(format!(
                "`{}` is the virtiofsd of an old QEMU, with which virtme-ng falls back to 9p",
                path.display()
            ))),
        }
    }
}

/// Whether the text of `--help` has what vng gives.
fn takes_options_of_vng(help: &str) -> bool {
    ["--shared-dir", "--socket-path", "--sandbox"].iter().all(|option| help.contains(option))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_programs_of_this_name_are_told_apart_by_their_options() {
        let rust = "  --shared-dir <SHARED_DIR>\n  --socket-path <SOCKET_PATH>\n  --sandbox <SANDBOX>";
        let qemu =
            "    --socket-path=PATH         path for the vhost-user socket\n    -o sandbox=namespace|chroot";
        assert!(takes_options_of_vng(rust));
        assert!(!takes_options_of_vng(qemu));
    }

    #[test]
    fn virtiofs_is_chosen_where_it_is_served_and_never_replaced_where_it_is_demanded() {
        let (usable, unfit) = (Virtiofsd::Usable("/v".into()), Virtiofsd::Unfit("/q".into()));
        assert_eq!(usable.choose(RootFs::Auto), Ok(RootFs::Virtiofs));
        assert_eq!(usable.choose(RootFs::NineP), Ok(RootFs::NineP));
        assert_eq!(unfit.choose(RootFs::Auto), Ok(RootFs::NineP));
        assert_eq!(Virtiofsd::Absent.choose(RootFs::Auto), Ok(RootFs::NineP));
        for none in [unfit, Virtiofsd::Absent] {
            assert!(none.choose(RootFs::Virtiofs).is_err());
        }
    }
}
