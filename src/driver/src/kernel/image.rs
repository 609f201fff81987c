//! What a file that should be a kernel image is: the two formats that QEMU
//! boots, the release in them, and a name for everything else.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf;
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::read::{Object as _, ObjectSection as _, ReadCache};

use super::error::{At as _, FileError};

/// How QEMU has to enter an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageFormat {
    /// An uncompressed ELF `vmlinux` with a PVH entry point (`CONFIG_PVH=y`):
    /// no decompressor, half of a boot under TCG.
    Vmlinux,
    /// A `bzImage`, by Documentation/arch/x86/boot.rst.
    BzImage,
}

impl ImageFormat {
    /// As written in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vmlinux => "vmlinux",
            Self::BzImage => "bzImage",
        }
    }
}

/// A kernel image, recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// How to boot it.
    pub format: ImageFormat,
    /// What `uname -r` will say, where the image tells.
    pub release: Option<String>,
}

/// Why a file cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is something else.
    #[error("`{}` is no kernel image but {what}{}", path.display(), other_hint(what))]
    Other {
        /// Which file.
        path: PathBuf,
        /// What it looks like, with an article.
        what: String,
    },
    /// A kernel for other machines.
    #[error("`{}` is a kernel for {arch}; only x86-64 kernels can be booted", path.display())]
    Arch {
        /// Which file.
        path: PathBuf,
        /// Which machine.
        arch: &'static str,
    },
    /// An ELF kernel that QEMU cannot enter.
    #[error(
        "`{}` is an ELF kernel without PVH entry point, which QEMU cannot boot\n\
         hint: boot the `bzImage` of the same build (`arch/x86/boot/bzImage`), or build with `CONFIG_PVH=y`",
        path.display()
    )]
    NoPvh {
        /// Which file.
        path: PathBuf,
    },
    /// Modules that are none.
    #[error(
        "`{}` is no directory of kernel modules: it has neither `modules.order` nor `kernel/`{}",
        path.display(), modules_hint(nested.as_deref())
    )]
    Modules {
        /// Which directory.
        path: PathBuf,
        /// One further down that is.
        nested: Option<PathBuf>,
    },
}

fn other_hint(what: &str) -> &'static str {
    if what.contains("Debian package") {
        "\nhint: write `deb:` in place of `image:`"
    } else if what.contains("compressed") {
        "\nhint: decompress it first; a `bzImage` or `vmlinuz` decompresses itself"
    } else {
        "\nhint: a `bzImage` (`/boot/vmlinuz-*`, `arch/x86/boot/bzImage`) or an ELF `vmlinux` is needed"
    }
}

fn modules_hint(nested: Option<&Path>) -> String {
    nested.map(|path| format!("\nhint: there is `{}`", path.display())).unwrap_or_default()
}

/// Bytes from the start that tell everything about a `bzImage`: the setup code
/// has at most 64 sectors.
const HEAD: u64 = 64 * 512;

/// Reads what an image is.
///
/// # Errors
///
/// Fails when the file cannot be read or is not an x86-64 kernel that QEMU boots.
pub fn inspect(path: &Path) -> Result<ImageInfo, ImageError> {
    let metadata = fs::metadata(path).at("read", path)?;
    let other = |what: String| ImageError::Other { path: path.to_owned(), what };
    if metadata.is_dir() {
        return Err(other("a directory".to_owned()));
    }
    let mut head = Vec::new();
    File::open(path).at("read", path)?.take(HEAD).read_to_end(&mut head).at("read", path)?;
    if head.starts_with(&elf::ELFMAG) {
        return inspect_elf(path);
    }
    match bzimage(&head) {
        Some(Ok(release)) => Ok(ImageInfo { format: ImageFormat::BzImage, release }),
        Some(Err(arch)) => Err(ImageError::Arch { path: path.to_owned(), arch }),
        // `ARM\x64` of Documentation/arch/arm64/booting.rst.
        None if field(&head, 0x38) == Some(*b"ARM\x64") => {
            Err(ImageError::Arch { path: path.to_owned(), arch: "arm64" })
        }
        None => Err(other(describe(&head))),
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Reads a boot header: `None` if there is none, an architecture if it is not
/// ours, else the release. Offsets from Documentation/arch/x86/boot.rst.
fn bzimage(head: &[u8]) -> Option<Result<Option<String>, &'static str>> {
    let is_boot_sector = field(head, 0x1fe)? == [0x55, 0xaa];
    if !is_boot_sector || field(head, 0x202)? != *b"HdrS" {
        return None;
    }
    let protocol = u16::from_le_bytes(field(head, 0x206)?);
    let load_flags = *head.get(0x211)?;
    // Protocol 2.12 (Linux 3.8) has the bit of a 64-bit entry point; LOADED_HIGH
    // is what makes a zImage a bzImage.
    let x_load_flags = u16::from_le_bytes(field(head, 0x236)?);
    if protocol < 0x020c || load_flags & 1 == 0 || x_load_flags & 1 == 0 {
        return Some(Err("32-bit x86"));
    }
    let pointer = u16::from_le_bytes(field(head, 0x20e)?);
    let release =
        (pointer != 0).then(|| head.get(usize::from(pointer) + 0x200..)).flatten().and_then(release_in);
    Some(Ok(release))
}

/// The first word of `6.12.117 (user@host) #1 ...`, up to the NUL.
fn release_in(banner: &[u8]) -> Option<String> {
    let banner = banner.split(|&byte| byte == 0).next()?;
    let word = banner.split(|byte| byte.is_ascii_whitespace()).next()?;
    let word = std::str::from_utf8(word).ok()?;
    let is_release = word.starts_with(|c: char| c.is_ascii_digit()) && word.len() <= 64;
    is_release.then(|| word.to_owned())
}

fn inspect_elf(path: &Path) -> Result<ImageInfo, ImageError> {
    let other = |what: &str| ImageError::Other { path: path.to_owned(), what: what.to_owned() };
    let arch = |arch| ImageError::Arch { path: path.to_owned(), arch };
    let file = ReadCache::new(File::open(path).at("read", path)?);
    let Ok(elf) = ElfFile64::<Endianness, _>::parse(&file) else {
        // The class is the fifth byte.
        let mut ident = [0; 5];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut ident));
        return Err(match read {
            Ok(()) if ident[4] == elf::ELFCLASS32 => arch("32-bit machines"),
            _ => other("a damaged ELF file"),
        });
    };
    let endian = elf.endian();
    match elf.elf_header().e_machine(endian) {
        elf::EM_X86_64 => {}
        elf::EM_AARCH64 => return Err(arch("arm64")),
        elf::EM_RISCV => return Err(arch("riscv")),
        elf::EM_S390 => return Err(arch("s390")),
        elf::EM_PPC64 => return Err(arch("powerpc")),
        _ => return Err(arch("another machine")),
    }
    match elf.elf_header().e_type(endian) {
        elf::ET_EXEC => {}
        elf::ET_REL => return Err(other("an object file or kernel module")),
        elf::ET_DYN => return Err(other("an executable or shared library")),
        _ => return Err(other("an ELF file of another kind")),
    }
    let release = elf.section_by_name(".rodata").and_then(|section| {
        let data = section.data().ok()?;
        banner_release(data)
    });
    let pvh = elf.elf_program_headers().iter().any(|header| {
        let Ok(Some(mut notes)) = header.notes(endian, &file) else { return false };
        std::iter::from_fn(|| notes.next().ok().flatten())
            .any(|note| is_pvh(note.name(), note.n_type(endian)))
    });
    if pvh {
        return Ok(ImageInfo { format: ImageFormat::Vmlinux, release });
    }
    // A program of the host is an ELF file without PVH note as well.
    if release.is_none() && elf.section_by_name(".interp").is_some() {
        return Err(other("a program"));
    }
    Err(ImageError::NoPvh { path: path.to_owned() })
}

/// `XEN_ELFNOTE_PHYS32_ENTRY` of include/xen/interface/elfnote.h: where QEMU
/// enters a kernel in 32-bit mode without paging.
fn is_pvh(name: &[u8], kind: u32) -> bool {
    name == b"Xen" && kind == 18
}

/// Finds `linux_banner` of init/version.c.
fn banner_release(rodata: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    let mut rest = rodata;
    while let Some(at) = rest.iter().position(|&byte| byte == b'L') {
        rest = &rest[at..];
        if let Some(found) = rest.strip_prefix(BANNER).and_then(release_in) {
            return Some(found);
        }
        rest = &rest[1..];
    }
    None
}

/// Names what a file is, as far as its beginning tells.
fn describe(head: &[u8]) -> String {
    const MAGIC: [(&[u8], &str); 9] = [
        (b"\x1f\x8b", "a gzip-compressed file"),
        (b"\xfd7zXZ\0", "an xz-compressed file"),
        (b"BZh", "a bzip2-compressed file"),
        (b"\x28\xb5\x2f\xfd", "a zstd-compressed file"),
        (b"!<arch>\ndebian", "a Debian package"),
        (b"!<arch>", "a static library"),
        (b"070701", "an initramfs"),
        (b"QFI\xfb", "a disk image (qcow2)"),
        (b"MZ", "an EFI program without a Linux boot header"),
    ];
    if head.is_empty() {
        return "an empty file".to_owned();
    }
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return (*what).to_owned();
    }
    if field(head, 0x1fe) == Some([0x55, 0xaa]) {
        return "a disk image or boot sector".to_owned();
    }
    let start = &head[..head.len().min(256)];
    let is_text = std::str::from_utf8(start).map_or_else(|error| error.error_len().is_none(), |_| true)
        && !start.iter().any(|&byte| byte == 0 || byte == 0x1b);
    if !is_text {
        return "a file of an unknown kind".to_owned();
    }
    let text = String::from_utf8_lossy(start);
    let line: String =
        text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(40).collect();
    format!("a text file, which begins with `{line}`")
}

/// Looks for the `.config` of an image: beside it as distributions install it,
/// or at the top of the build directory that it is in.
#[must_use]
pub(super) fn find_config(image: &Path, release: Option<&str>) -> Option<PathBuf> {
    let dir = image.parent()?;
    let installed = release.map(|release| dir.join(format!("config-{release}")));
    let built = match dir.ends_with("arch/x86/boot") {
        true => dir.ancestors().nth(3).map(|top| top.join(".config")),
        false => Some(dir.join(".config")),
    };
    [installed, built].into_iter().flatten().find(|path| path.is_file())
}

/// Looks for the modules of an installed image: `boot/vmlinuz-R` and
/// `lib/modules/R` lie below the same root.
#[must_use]
pub(super) fn find_modules(image: &Path, release: Option<&str>) -> Option<PathBuf> {
    let boot = image.parent().filter(|dir| dir.ends_with("boot") && !dir.ends_with("arch/x86/boot"))?;
    let modules = boot.parent()?.join("lib/modules").join(release?);
    is_modules(&modules).then_some(modules)
}

fn is_modules(path: &Path) -> bool {
    path.join("modules.order").is_file() || path.join("kernel").is_dir()
}

/// Checks that a directory is a `/lib/modules/RELEASE`.
///
/// # Errors
///
/// Fails when it is missing or something else.
pub(super) fn check_modules(path: &Path, release: Option<&str>) -> Result<(), ImageError> {
    fs::read_dir(path).at("read", path)?;
    if is_modules(path) {
        return Ok(());
    }
    let below = |dir: &str| release.map(|release| path.join(dir).join(release)).filter(|dir| is_modules(dir));
    let nested = ["", "lib/modules", "usr/lib/modules"].into_iter().find_map(below);
    Err(ImageError::Modules { path: path.to_owned(), nested })
}

#[cfg(test)]
mod tests;
