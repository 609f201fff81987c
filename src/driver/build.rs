//! Puts the project's own configuration into the binary: `kregress.yaml`, the
//! suites and the kconfig fragments. They are found by walking their
//! directories, so that none can be forgotten.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let package =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| missing("CARGO_MANIFEST_DIR"))?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| missing("OUT_DIR"))?);
    let project = package.join("../..");

    let mut code = String::new();
    let config = project.join("kregress.yaml");
    announce(&config);
    let _ = writeln!(code, "pub(super) const CONFIG: &str = include_str!({config:?});");
    for (constant, directory, extension) in
        [("FRAGMENTS", "kconfigs", "config"), ("SUITES", "suites", "yaml")]
    {
        let _ = writeln!(code, "pub(super) const {constant}: &[(&str, &str)] = &[");
        for (stem, path) in files(&project.join(directory), extension)? {
            announce(&path);
            let _ = writeln!(code, "    ({stem:?}, include_str!({path:?})),");
        }
        let _ = writeln!(code, "];");
    }
    fs::write(out.join("embedded.rs"), code)
}

/// Files with this extension, by stem, in alphabetical order.
fn files(directory: &Path, extension: &str) -> io::Result<Vec<(String, PathBuf)>> {
    announce(directory);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let (Some(stem), true) = (stem, path.extension().is_some_and(|found| found == extension)) {
            found.push((stem.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

fn announce(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

fn missing(variable: &str) -> io::Error {
    io::Error::other(format!("cargo did not set `{variable}`"))
}
