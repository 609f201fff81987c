//! Kernels that are booted as they are: an image of the user's, or one out of a
//! distribution's package.

use std::collections::BTreeMap;
use std::path::Path;

use super::env::BuildEnv;
use super::error::{At as _, KernelProblem};
use super::source::{self, Packing, SourceError};
use super::{Kernel, detectors, image};
use crate::model::{BuildEvent, KernelInfo, KernelSpec};

/// Takes an image, and modules and configuration with it where they can be found.
pub(super) fn image(
    spec: &KernelSpec,
    image: &Path,
    modules: Option<&Path>,
    config: Option<&Path>,
    env: &BuildEnv,
) -> Result<Kernel, KernelProblem> {
    let found = image::inspect(image)?;
    let release = found.release.as_deref();
    let modules = match modules {
        Some(modules) => {
            image::check_modules(modules, release)?;
            Some(modules.to_owned())
        }
        None => image::find_modules(image, release),
    };
    let config = match config {
        Some(config) => {
            std::fs::metadata(config).at("read", config)?;
            Some(config.to_owned())
        }
        None => image::find_config(image, release),
    };
    let identity = env.cache.hasher().hash(image).at("read", image)?.to_string();
    let mut facts = BTreeMap::from([
        ("source".to_owned(), format!("image `{}`", image.display())),
        ("format".to_owned(), found.format.name().to_owned()),
        ("image-sha256".to_owned(), identity.clone()),
    ]);
    if let Some(modules) = &modules {
        facts.insert("modules".to_owned(), modules.display().to_string());
    }
    let info = KernelInfo {
        name: spec.name.clone(),
        image: image.to_owned(),
        identity,
        release: found.release,
        detectors: detectors::of(config.as_deref()),
        facts,
    };
    // Its modules are anybody's.
    let image_digest = modules.is_none().then(|| info.identity.clone());
    let image = info.image.clone();
    let (sources, warnings, selftests) = (None, None, None);
    let format = found.format;
    Ok(Kernel { image, info, format, modules, config, sources, warnings, selftests, image_digest })
}

/// Unpacks a package, once, and takes the kernel in it.
pub(super) fn package(
    spec: &KernelSpec,
    pattern: &str,
    env: &BuildEnv,
    progress: &mut dyn FnMut(BuildEvent),
) -> Result<Kernel, KernelProblem> {
    env.cache.create()?;
    let path = source::find_archive(pattern, Packing::Deb)?;
    let digest = env.cache.hasher().hash(&path).at("read", &path)?;
    let unpacked = source::unpack(&path, &digest, Packing::Deb, env, &mut |what| {
        progress(BuildEvent::Step { kernel: spec.name.clone(), what });
    })?;
    let Some(packaged) = source::contents(&unpacked) else {
        return Err(SourceError::NoKernel { path }.into());
    };
    let modules = packaged.modules.as_deref();
    let mut kernel = image(spec, &packaged.image, modules, packaged.config.as_deref(), env)?;
    kernel.info.facts.insert("source".to_owned(), format!("package `{}`", path.display()));
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing::{Fixture, bzimage, vmlinux};
    use crate::kernel::{ImageFormat, obtain};
    use crate::model::{KernelName, Source};
    use std::fs;
    use std::path::PathBuf;

    fn spec(source: Source) -> KernelSpec {
        KernelSpec {
            name: KernelName("distro".into()),
            source,
            fragments: Vec::new(),
            base_config: None,
            cmdline: Vec::new(),
        }
    }

    fn image_spec(image: PathBuf) -> KernelSpec {
        spec(Source::Image { image, modules: None, config: None })
    }

    fn write(path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        fs::write(path, bytes).expect("write");
    }

    #[test]
    fn an_installed_kernel_brings_its_modules_and_config() {
        let fixture = Fixture::new();
        let root = fixture.path().join("root");
        write(&root.join("boot/vmlinuz-6.1.0-56-cloud-amd64"), &bzimage("6.1.0-56-cloud-amd64"));
        write(&root.join("boot/config-6.1.0-56-cloud-amd64"), b"CONFIG_X=y\n");
        write(&root.join("lib/modules/6.1.0-56-cloud-amd64/modules.order"), b"");
        let mut events = Vec::new();
        let kernel =
            obtain(&image_spec(root.join("boot/vmlinuz-6.1.0-56-cloud-amd64")), &fixture.env, &mut |event| {
                events.push(event)
            })
            .expect("kernel");
        assert_eq!(kernel.format, ImageFormat::BzImage);
        assert_eq!(kernel.info.release.as_deref(), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(kernel.modules, Some(root.join("lib/modules/6.1.0-56-cloud-amd64")));
        assert_eq!(kernel.config, Some(root.join("boot/config-6.1.0-56-cloud-amd64")));
        assert_eq!(kernel.info.identity.len(), 64);
        assert_eq!(events, [BuildEvent::Ready(kernel.info)]);
    }

    #[test]
    fn a_lone_image_is_enough() {
        let fixture = Fixture::new();
        let image = fixture.path().join("vmlinux");
        write(&image, &vmlinux("6.12.117", 18));
        let kernel = obtain(&image_spec(image.clone()), &fixture.env, &mut |_| ()).expect("kernel");
        assert_eq!(kernel.bzimage(), None);
        assert_eq!((kernel.format, kernel.modules, kernel.config), (ImageFormat::Vmlinux, None, None));
        assert_eq!(kernel.image, image);
    }

    #[test]
    fn the_bzimage_of_a_built_vmlinux_is_known() {
        let fixture = Fixture::new();
        let built = fixture.path().join("b");
        write(&built.join("vmlinux"), &vmlinux("6.12.117", 18));
        write(&built.join("arch/x86/boot/bzImage"), &bzimage("6.12.117"));
        let kernel = obtain(&image_spec(built.join("vmlinux")), &fixture.env, &mut |_| ()).expect("kernel");
        assert_eq!(kernel.bzimage(), Some(built.join("arch/x86/boot/bzImage")));
    }

    #[test]
    fn a_text_file_is_refused_with_the_name_of_the_kernel() {
        let fixture = Fixture::new();
        let image = fixture.path().join("bzImage");
        write(&image, b"hello\n");
        let error = obtain(&image_spec(image), &fixture.env, &mut |_| ()).expect_err("text").to_string();
        assert!(error.starts_with("kernel `distro`: `"), "{error}");
        assert!(error.contains("is no kernel image but a text file, which begins with `hello`"), "{error}");
    }

    #[test]
    fn named_modules_and_config_must_be_there() {
        let fixture = Fixture::new();
        let image = fixture.path().join("bzImage");
        write(&image, &bzimage("6.12.117"));
        let source = |modules: Option<&str>, config: Option<&str>| Source::Image {
            image: image.clone(),
            modules: modules.map(|name| fixture.path().join(name)),
            config: config.map(|name| fixture.path().join(name)),
        };
        let error =
            obtain(&spec(source(Some("gone"), None)), &fixture.env, &mut |_| ()).expect_err("modules");
        assert!(error.to_string().contains("cannot read `"), "{error}");
        let error =
            obtain(&spec(source(Some("bin"), None)), &fixture.env, &mut |_| ()).expect_err("no modules");
        assert!(error.to_string().contains("is no directory of kernel modules"), "{error}");
        let error = obtain(&spec(source(None, Some("gone"))), &fixture.env, &mut |_| ()).expect_err("config");
        assert!(error.to_string().contains("cannot read `"), "{error}");
    }

    /// A `dpkg-deb --extract ARCHIVE INTO` that copies a prepared tree.
    fn fake_dpkg(fixture: &Fixture, contents: &Path) {
        fixture.tool("dpkg-deb", &format!("cp -r {}/. \"$3\"", contents.display()));
    }

    #[test]
    fn a_package_is_unpacked_once_and_never_installed() {
        let fixture = Fixture::new();
        let contents = fixture.path().join("contents");
        write(&contents.join("boot/vmlinuz-6.1.0-56"), &bzimage("6.1.0-56"));
        write(&contents.join("boot/config-6.1.0-56"), b"");
        write(&contents.join("lib/modules/6.1.0-56/kernel/net/dummy.ko"), b"");
        write(&fixture.path().join("linux-image-6.1.0-56_6.1.192-2_amd64.deb"), b"!<arch>");
        write(&fixture.path().join("linux-image-6.1.0-9_6.1.27-1_amd64.deb"), b"!<arch> older");
        fake_dpkg(&fixture, &contents);
        let spec = spec(Source::Deb(format!("{}/linux-image-*.deb", fixture.path().display())));
        let mut steps = Vec::new();
        let mut get = || {
            obtain(&spec, &fixture.env, &mut |event| {
                if let BuildEvent::Step { what, .. } = event {
                    steps.push(what);
                }
            })
        };
        let kernel = get().expect("kernel");
        assert_eq!(kernel.info.release.as_deref(), Some("6.1.0-56"));
        assert!(kernel.image.starts_with(fixture.env.cache.root()));
        assert!(kernel.modules.as_ref().is_some_and(|modules| modules.ends_with("lib/modules/6.1.0-56")));
        assert!(kernel.config.is_some());
        assert!(kernel.info.facts["source"].contains("6.1.192-2"), "{:?}", kernel.info.facts);
        assert_eq!(get().expect("again").info, kernel.info);
        assert_eq!(steps, ["unpacking linux-image-6.1.0-56_6.1.192-2_amd64.deb"]);
    }

    #[test]
    fn a_package_without_kernel_says_which_to_take() {
        let fixture = Fixture::new();
        let contents = fixture.path().join("contents");
        write(&contents.join("usr/share/doc/copyright"), b"");
        fake_dpkg(&fixture, &contents);
        let package = fixture.path().join("linux-image-amd64.deb");
        write(&package, b"!<arch>");
        let error = obtain(&spec(Source::Deb(package.display().to_string())), &fixture.env, &mut |_| ());
        let error = error.expect_err("no kernel").to_string();
        assert!(error.contains("holds no kernel image"), "{error}");
        assert!(
            error.contains("\nhint: a package such as `linux-image-amd64` only depends on the real one"),
            "{error}"
        );
    }
}
