//! The guest's root file system: an uncompressed newc cpio with our own binary
//! as `/init`, what it links to, kernel modules, programs of suites, and the plan.
//!
//! Every byte is a function of its inputs: no times, no owners, sorted names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use cpio::newc::{Builder, trailer};
use kregress_wire::{PLAN_PATH, Plan};

use super::closure::{ClosureError, elf_closure};
use super::modules::{OnDemand, Selection};
use super::programs::Programs;
use crate::exec::{Cmd, ExecError};

/// List of modules to load, one absolute guest path per line, in order.
const MODULES_LIST: &str = "/kregress/modules.list";

/// Modules to load on demand: a line `path: path path` for each with what comes
/// before it, and a line `alias NAME MODULE` for each other name.
const MODULES_INDEX: &str = "/kregress/modules.index";

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;

/// Why an image cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// Our own binary cannot be packed.
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// A file cannot be read.
    #[error("cannot read `{path}` for the guest image: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A compressed module cannot be unpacked.
    #[error("cannot unpack the module `{path}`: {source}")]
    Unpack {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ExecError,
    },
    /// The image cannot be written.
    #[error("cannot write the guest image: {0}")]
    Write(#[from] io::Error),
}

/// What goes into the image.
#[derive(Debug, Clone)]
pub struct Contents<'a> {
    /// Our binary.
    pub init: &'a Path,
    /// Kernel modules.
    pub modules: &'a Selection,
    /// Programs that are tests.
    pub programs: &'a Programs,
    /// What the guest shall do.
    pub plan: &'a Plan,
}

/// What a file of the image holds. Programs are large, and several images may be
/// written at once: they go from file to file.
enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// Writes the image.
///
/// # Errors
///
/// Fails when an input cannot be read or the output cannot be written.
pub fn write(contents: &Contents<'_>, out: &mut dyn Write) -> Result<(), InitramfsError> {
    let mut files: BTreeMap<PathBuf, Content> = BTreeMap::new();
    // Ours come later and win.
    for (guest, host) in &contents.programs.files {
        files.insert(guest.clone(), Content::File(host.clone()));
    }
    for (guest, host) in elf_closure(contents.init, Path::new("/init"))? {
        files.insert(guest, Content::File(host));
    }
    let mut list = String::new();
    for module in &contents.modules.boot {
        list.push_str(&format!("{}\n", pack(module, &mut files)?.display()));
    }
    files.insert(PathBuf::from(MODULES_LIST), Content::Bytes(list.into_bytes()));
    let mut index = String::new();
    for OnDemand { file, before } in &contents.modules.on_demand {
        index.push_str(&format!("{}:", pack(file, &mut files)?.display()));
        for module in before {
            index.push_str(&format!(" {}", pack(module, &mut files)?.display()));
        }
        index.push('\n');
    }
    for (alias, module) in &contents.modules.aliases {
        index.push_str(&format!("alias {alias} {module}\n"));
    }
    files.insert(PathBuf::from(MODULES_INDEX), Content::Bytes(index.into_bytes()));
    let plan = serde_json::to_vec(contents.plan).map_err(io::Error::other)?;
    files.insert(PathBuf::from(PLAN_PATH), Content::Bytes(plan));
    archive(&files, &contents.programs.directories, out)
}

/// Puts a module into the image unless it is there; its path in the guest.
fn pack(module: &Path, files: &mut BTreeMap<PathBuf, Content>) -> Result<PathBuf, InitramfsError> {
    let guest = Path::new("/kregress/modules").join(unpacked_name(module));
    if !files.contains_key(&guest) {
        files.insert(guest.clone(), module_file(module)?);
    }
    Ok(guest)
}

/// File name of a module without what tells that it is compressed.
fn unpacked_name(module: &Path) -> String {
    let name = module.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.find(".ko.") {
        Some(at) => name[..at + 3].to_owned(),
        None => name,
    }
}

/// Content of a module, unpacked: not every kernel can do it itself.
fn module_file(path: &Path) -> Result<Content, InitramfsError> {
    let tool = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return Ok(Content::File(path.to_owned())),
    };
    let unpack_error = |source| InitramfsError::Unpack { path: path.to_owned(), source };
    let command = Cmd::new(tool).arg("-dc").arg(path);
    let output = command.run().map_err(unpack_error)?;
    if !output.status.success() {
        return Err(unpack_error(ExecError::Failed {
            command: command.display(),
            status: output.status.to_string(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }));
    }
    Ok(Content::Bytes(output.stdout))
}

fn archive(
    files: &BTreeMap<PathBuf, Content>,
    more: &BTreeSet<PathBuf>,
    mut out: &mut dyn Write,
) -> Result<(), InitramfsError> {
    let parents = files.keys().flat_map(|path| path.ancestors().skip(1));
    let directories = parents.chain(more.iter().flat_map(|path| path.ancestors()));
    let directories = directories.filter(|dir| dir.parent().is_some()).map(PathBuf::from);
    let directories: BTreeSet<PathBuf> = directories.chain([PathBuf::from("/dev")]).collect();
    let name = |path: &Path| path.to_string_lossy().trim_start_matches('/').to_owned();
    let mut inode = 1;
    let mut entry = |name: String, mode: u32| {
        inode += 1;
        Builder::new(&name).ino(inode).mode(mode).nlink(1)
    };
    for directory in &directories {
        out = entry(name(directory), DIRECTORY).write(out, 0).finish()?;
    }
    // The kernel opens it as the standard streams of init.
    let console = entry("dev/console".to_owned(), DEVICE).rdev_major(5).rdev_minor(1);
    out = console.write(out, 0).finish()?;
    for (path, content) in files {
        let too_large = |_| io::Error::other(format!("`{}` is larger than 4 GiB", path.display()));
        let program = entry(name(path), PROGRAM);
        out = match content {
            Content::Bytes(data) => {
                let mut writer = program.write(out, u32::try_from(data.len()).map_err(too_large)?);
                writer.write_all(data)?;
                writer.finish()?
            }
            Content::File(host) => {
                let read_error = |source| InitramfsError::Read { path: host.clone(), source };
                let file = File::open(host).map_err(read_error)?;
                let length = file.metadata().map_err(read_error)?.len();
                let mut writer = program.write(out, u32::try_from(length).map_err(too_large)?);
                let copied = io::copy(&mut file.take(length), &mut writer)?;
                if copied != length {
                    let shorter = io::Error::other("it became shorter while it was read");
                    return Err(read_error(shorter));
                }
                writer.finish()?
            }
        };
    }
    Ok(trailer(out)?.flush()?)
}

#[cfg(test)]
mod tests {
    use kregress_wire::{Carrier, Nonce};

    use super::*;

    fn image() -> Vec<u8> {
        let plan = Plan {
            protocol: 1,
            nonce: Nonce::from_bytes([7; 16]),
            seed: 1,
            patience_ms: 1000,
            carrier: Carrier::VirtioSerial,
            tests: vec![],
            shell: None,
        };
        let init = std::env::current_exe().expect("own path");
        let mut out = Vec::new();
        let programs = Programs::default();
        let contents =
            Contents { init: &init, modules: &Selection::default(), programs: &programs, plan: &plan };
        write(&contents, &mut out).expect("image");
        out
    }

    fn names(image: &[u8]) -> Vec<(String, u32)> {
        let mut names = Vec::new();
        let mut rest = image;
        loop {
            let reader = cpio::newc::Reader::new(rest).expect("entry");
            if reader.entry().is_trailer() {
                return names;
            }
            names.push((reader.entry().name().to_owned(), reader.entry().mode()));
            rest = reader.finish().expect("data");
        }
    }

    #[test]
    fn the_image_has_init_console_plan_and_every_parent_directory() {
        let names = names(&image());
        let mode = |name: &str| names.iter().find(|(found, _)| found == name).map(|(_, mode)| *mode);
        assert_eq!(mode("init"), Some(PROGRAM));
        assert_eq!(mode("dev/console"), Some(DEVICE));
        assert_eq!(mode("kregress"), Some(DIRECTORY));
        assert_eq!(mode("kregress/plan.json"), Some(PROGRAM));
        for (name, _) in &names {
            if let Some((parent, _)) = name.rsplit_once('/') {
                assert_eq!(mode(parent), Some(DIRECTORY), "parent of {name}");
            }
        }
    }

    #[test]
    fn the_image_is_a_function_of_its_inputs() {
        assert!(image() == image(), "two images of the same contents differ");
    }

    #[test]
    fn a_directory_comes_before_what_lies_in_it() {
        let names = names(&image());
        for (at, (name, _)) in names.iter().enumerate() {
            if let Some((parent, _)) = name.rsplit_once('/') {
                assert!(names[..at].iter().any(|(earlier, _)| earlier == parent), "{name} before {parent}");
            }
        }
    }
}
