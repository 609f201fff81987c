use super::*;
use crate::kernel::testing::{bzimage as sample_bzimage, vmlinux as sample_vmlinux};
use proptest::prelude::*;

fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("image");
    fs::write(&path, bytes).expect("write");
    (dir, path)
}

fn refused(bytes: &[u8]) -> String {
    let (_dir, path) = file(bytes);
    let error = inspect(&path).expect_err("refused").to_string();
    error.replace(&path.display().to_string(), "IMAGE")
}

#[test]
fn a_bzimage_is_recognised_with_its_release() {
    let (_dir, path) = file(&sample_bzimage("6.12.117"));
    let info = inspect(&path).expect("image");
    assert_eq!(info, ImageInfo { format: ImageFormat::BzImage, release: Some("6.12.117".into()) });
}

#[test]
fn a_bzimage_that_does_not_tell_its_release_is_still_one() {
    let mut bytes = sample_bzimage("6.12.117");
    bytes[0x20e..0x210].copy_from_slice(&[0, 0]);
    let (_dir, path) = file(&bytes);
    assert_eq!(inspect(&path).expect("image").release, None);
    bytes[0x20e..0x210].copy_from_slice(&[0xff, 0xff]);
    let (_dir, path) = file(&bytes);
    assert_eq!(inspect(&path).expect("image").release, None);
}

#[test]
fn a_vmlinux_with_pvh_entry_is_recognised_with_its_release() {
    let (_dir, path) = file(&sample_vmlinux("6.12.117", 18));
    let info = inspect(&path).expect("image");
    assert_eq!(info, ImageInfo { format: ImageFormat::Vmlinux, release: Some("6.12.117".into()) });
}

#[test]
fn a_vmlinux_without_pvh_entry_says_what_to_boot_in_its_place() {
    // XEN_ELFNOTE_PHYS32_RELOC, which 6.12 has beside the entry.
    insta::assert_snapshot!(refused(&sample_vmlinux("6.12.117", 19)), @"
    `IMAGE` is an ELF kernel without PVH entry point, which QEMU cannot boot
    hint: boot the `bzImage` of the same build (`arch/x86/boot/bzImage`), or build with `CONFIG_PVH=y`
    ");
}

#[test]
fn a_text_file_is_named_with_its_first_words() {
    insta::assert_snapshot!(refused(b"#!/bin/sh\necho hello\n"), @"
    `IMAGE` is no kernel image but a text file, which begins with `#!/bin/sh`
    hint: a `bzImage` (`/boot/vmlinuz-*`, `arch/x86/boot/bzImage`) or an ELF `vmlinux` is needed
    ");
}

#[test]
fn a_package_says_how_to_name_it() {
    insta::assert_snapshot!(refused(b"!<arch>\ndebian-binary   "), @"
    `IMAGE` is no kernel image but a Debian package
    hint: write `deb:` in place of `image:`
    ");
}

#[test]
fn a_compressed_vmlinux_says_to_decompress_it() {
    assert!(refused(b"\x1f\x8b\x08\0").contains("but a gzip-compressed file\nhint: decompress it first"));
}

#[test]
fn other_files_are_named() {
    assert!(refused(b"").contains("but an empty file"));
    assert!(refused(b"070701aaaa").contains("but an initramfs"));
    assert!(refused(b"MZ\0\0").contains("but an EFI program"));
    assert!(refused(&[0xde, 0xad, 0, 1]).contains("but a file of an unknown kind"));
    let mut sector = vec![0; 512];
    sector[0x1fe..].copy_from_slice(&[0x55, 0xaa]);
    assert!(refused(&sector).contains("but a disk image or boot sector"));
}

#[test]
fn control_characters_of_a_text_file_do_not_reach_the_terminal() {
    let text = refused(b"a\x07b\rc\n");
    assert!(text.contains("begins with `abc`"), "{text:?}");
}

#[test]
fn kernels_of_other_machines_are_named() {
    let mut arm64 = vec![0; 0x40];
    arm64[0x38..0x3c].copy_from_slice(b"ARM\x64");
    assert!(refused(&arm64).contains("is a kernel for arm64"));

    let mut elf = sample_vmlinux("6.12.117", 18);
    elf[18..20].copy_from_slice(&183u16.to_le_bytes());
    assert!(refused(&elf).contains("is a kernel for arm64"));

    let mut elf = sample_vmlinux("6.12.117", 18);
    elf[4] = 1;
    assert!(refused(&elf).contains("is a kernel for 32-bit machines"));

    let mut i386 = sample_bzimage("6.12.117");
    i386[0x236] = 0;
    assert!(refused(&i386).contains("is a kernel for 32-bit x86"));
}

#[test]
fn an_elf_file_that_is_no_kernel_is_named() {
    let mut module = sample_vmlinux("6.12.117", 18);
    module[16..18].copy_from_slice(&1u16.to_le_bytes());
    assert!(refused(&module).contains("but an object file or kernel module"));
    let mut library = sample_vmlinux("6.12.117", 18);
    library[16..18].copy_from_slice(&3u16.to_le_bytes());
    assert!(refused(&library).contains("but an executable or shared library"));
    assert!(refused(b"\x7fELF\x02\x01").contains("but a damaged ELF file"));
}

#[test]
fn missing_files_and_directories_are_named() {
    let error = inspect(Path::new("/nonexistent/bzImage")).expect_err("missing").to_string();
    assert!(error.starts_with("cannot read `/nonexistent/bzImage`: "), "{error}");
    let dir = tempfile::tempdir().expect("tempdir");
    let error = inspect(dir.path()).expect_err("directory").to_string();
    assert!(error.contains("but a directory"), "{error}");
}

fn tree(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("tempdir");
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        fs::write(path, "").expect("write");
    }
    root
}

#[test]
fn the_config_of_an_installed_image_lies_beside_it() {
    let root = tree(&["boot/config-6.1.0-56", "boot/vmlinuz-6.1.0-56", "boot/config-6.1.0-55"]);
    let image = root.path().join("boot/vmlinuz-6.1.0-56");
    assert_eq!(find_config(&image, Some("6.1.0-56")), Some(root.path().join("boot/config-6.1.0-56")));
    assert_eq!(find_config(&image, None), None);
}

#[test]
fn the_config_of_a_built_image_is_at_the_top_of_its_build() {
    let root = tree(&["b/.config", "b/vmlinux", "b/arch/x86/boot/bzImage"]);
    let config = Some(root.path().join("b/.config"));
    assert_eq!(find_config(&root.path().join("b/arch/x86/boot/bzImage"), Some("6.12.0")), config);
    assert_eq!(find_config(&root.path().join("b/vmlinux"), None), config);
}

#[test]
fn the_modules_of_an_installed_image_lie_below_the_same_root() {
    let root = tree(&["boot/vmlinuz-6.1", "lib/modules/6.1/modules.order", "arch/x86/boot/bzImage"]);
    let found = find_modules(&root.path().join("boot/vmlinuz-6.1"), Some("6.1"));
    assert_eq!(found, Some(root.path().join("lib/modules/6.1")));
    assert_eq!(find_modules(&root.path().join("boot/vmlinuz-6.1"), Some("6.2")), None);
    assert_eq!(find_modules(&root.path().join("arch/x86/boot/bzImage"), Some("6.1")), None);
}

#[test]
fn modules_named_one_level_too_high_get_a_hint() {
    let root = tree(&["lib/modules/6.1/modules.order"]);
    check_modules(&root.path().join("lib/modules/6.1"), None).expect("modules");
    let error = check_modules(root.path(), Some("6.1")).expect_err("too high").to_string();
    assert!(error.contains("neither `modules.order` nor `kernel/`\nhint: there is `"), "{error}");
    assert!(error.ends_with("/lib/modules/6.1`"), "{error}");
    let error = check_modules(&root.path().join("nowhere"), None).expect_err("missing").to_string();
    assert!(error.starts_with("cannot read `"), "{error}");
}

proptest! {
    #[test]
    fn any_file_is_recognised_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1024)) {
        let (_dir, path) = file(&bytes);
        let _ = inspect(&path);
    }

    #[test]
    fn a_damaged_image_is_recognised_or_refused(
        at in 0usize..1200, byte: u8, cut in 0usize..4096, elf: bool,
    ) {
        let mut bytes = if elf { sample_vmlinux("6.12.117", 18) } else { sample_bzimage("6.12.117") };
        if let Some(target) = bytes.get_mut(at) {
            *target = byte;
        }
        bytes.truncate(cut);
        let (_dir, path) = file(&bytes);
        let _ = inspect(&path);
    }
}
