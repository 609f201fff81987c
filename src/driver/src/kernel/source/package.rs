//! What is in an unpacked Debian package of a kernel image.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kernel::version;

/// A kernel as distributions install it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kernel) struct PackagedKernel {
    /// `boot/vmlinuz-RELEASE`.
    pub(in crate::kernel) image: PathBuf,
    /// `lib/modules/RELEASE`; Ubuntu ships it in a package of its own.
    pub(in crate::kernel) modules: Option<PathBuf>,
    /// `boot/config-RELEASE`.
    pub(in crate::kernel) config: Option<PathBuf>,
}

/// Looks for a kernel below `root`; of several the newest.
pub(in crate::kernel) fn contents(root: &Path) -> Option<PackagedKernel> {
    let boot = entries(&root.join("boot"));
    let images = boot.into_iter().filter(|path| path.is_file() && release_of(path, "vmlinuz-").is_some());
    let image = version::newest(images)?;
    let release = release_of(&image, "vmlinuz-")?;
    // Since the merge of /usr packages may have either.
    let modules = ["lib/modules", "usr/lib/modules"].map(|dir| root.join(dir).join(&release));
    let config = root.join("boot").join(format!("config-{release}"));
    Some(PackagedKernel {
        modules: modules.into_iter().find(|dir| dir.is_dir()),
        config: Some(config).filter(|config| config.is_file()),
        image,
    })
}

fn release_of(path: &Path, prefix: &str) -> Option<String> {
    path.file_name()?.to_str()?.strip_prefix(prefix).map(str::to_owned)
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .map(|dir| dir.filter_map(Result::ok).map(|entry| entry.path()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("tempdir");
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(path, "").expect("write");
        }
        root
    }

    #[test]
    fn image_modules_and_config_belong_to_one_release() {
        let root = package(&[
            "boot/vmlinuz-6.1.0-56-cloud-amd64",
            "boot/config-6.1.0-56-cloud-amd64",
            "boot/System.map-6.1.0-56-cloud-amd64",
            "lib/modules/6.1.0-56-cloud-amd64/modules.order",
        ]);
        let found = contents(root.path()).expect("kernel");
        assert_eq!(found.image, root.path().join("boot/vmlinuz-6.1.0-56-cloud-amd64"));
        assert_eq!(found.modules, Some(root.path().join("lib/modules/6.1.0-56-cloud-amd64")));
        assert_eq!(found.config, Some(root.path().join("boot/config-6.1.0-56-cloud-amd64")));
    }

    #[test]
    fn modules_below_usr_are_found() {
        let root = package(&["boot/vmlinuz-6.12.1-amd64", "usr/lib/modules/6.12.1-amd64/modules.order"]);
        let found = contents(root.path()).expect("kernel");
        assert_eq!(found.modules, Some(root.path().join("usr/lib/modules/6.12.1-amd64")));
        assert_eq!(found.config, None);
    }

    #[test]
    fn modules_of_another_release_are_not_taken() {
        let root = package(&["boot/vmlinuz-6.8.0-40-generic", "lib/modules/6.8.0-41-generic/modules.order"]);
        assert_eq!(contents(root.path()).expect("kernel").modules, None);
    }

    #[test]
    fn of_several_images_the_newest_is_taken() {
        let root = package(&["boot/vmlinuz-6.1.0-9-amd64", "boot/vmlinuz-6.1.0-56-amd64"]);
        assert!(contents(root.path()).expect("kernel").image.ends_with("boot/vmlinuz-6.1.0-56-amd64"));
    }

    #[test]
    fn a_package_without_image_holds_no_kernel() {
        assert_eq!(contents(package(&["usr/share/doc/linux-image-amd64/copyright"]).path()), None);
        assert_eq!(contents(package(&["boot/config-6.1"]).path()), None);
    }
}
