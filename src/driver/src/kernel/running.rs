//! The kernel that runs on this host: nothing is built, nothing is booted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{ImageFormat, Kernel, detectors};
use crate::model::{KernelInfo, KernelName};

/// Where the kernel says what it is.
const VERSION: &str = "/proc/version";

/// The kernel of this host, under the name `local`.
///
/// # Errors
///
/// Fails where `/proc` is not mounted.
pub fn running() -> std::io::Result<Kernel> {
    let line = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    let (version, release) = (line(VERSION)?, line("/proc/sys/kernel/osrelease")?);
    let places = [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")];
    let config = places.into_iter().map(PathBuf::from).find(|path| path.is_file());
    let facts = BTreeMap::from([("source".to_owned(), version.clone())]);
    let info = KernelInfo {
        name: KernelName("local".to_owned()),
        image: VERSION.into(),
        identity: version,
        release: Some(release),
        detectors: detectors::of(config.as_deref()),
        facts,
    };
    let (image, format) = (info.image.clone(), ImageFormat::Vmlinux);
    Ok(Kernel {
        image,
        info,
        format,
        modules: None,
        config,
        sources: None,
        warnings: None,
        selftests: None,
        image_digest: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_is_named_local_and_knows_its_release() {
        let kernel = running().expect("a kernel");
        assert_eq!(kernel.info.name.0, "local");
        let release = kernel.info.release.expect("a release");
        assert!(kernel.info.identity.contains(&release), "{}", kernel.info.identity);
    }
}
