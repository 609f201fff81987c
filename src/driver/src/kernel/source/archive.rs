//! Tarballs and packages: finding the newest, unpacking it once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::SourceError;
use crate::exec::{Cmd, ExecError};
use crate::kernel::cache::{self, Locked};
use crate::kernel::env::BuildEnv;
use crate::kernel::error::{At as _, FileError, KernelProblem};
use crate::kernel::hash::Digest;
use crate::kernel::run::{self, RunError};
use crate::kernel::version;

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum Packing {
    /// A tar file, compressed with anything that `tar` knows.
    Tar,
    /// A Debian package.
    Deb,
}

impl Packing {
    fn what(self) -> &'static str {
        match self {
            Self::Tar => "source tarball",
            Self::Deb => "kernel package",
        }
    }

    fn command(self, archive: &Path, into: &Path, env: &BuildEnv) -> Cmd {
        match self {
            // As root tar would recreate the packager's users.
            Self::Tar => env
                .tools
                .cmd("tar")
                .args(["--extract", "--no-same-owner", "--file"])
                .arg(archive)
                .arg("--directory")
                .arg(into),
            Self::Deb => env.tools.cmd("dpkg-deb").arg("--extract").arg(archive).arg(into),
        }
    }
}

/// The file that a path or pattern means: of several the newest version.
pub(in crate::kernel) fn find_archive(pattern: &str, packing: Packing) -> Result<PathBuf, SourceError> {
    let literal = Path::new(pattern);
    match fs::metadata(literal) {
        Ok(metadata) if metadata.is_file() => {
            return fs::canonicalize(literal).map_err(|source| missing(literal, packing, source));
        }
        Ok(_) => return Err(SourceError::NotFile { path: literal.to_owned() }),
        Err(source) if !pattern.contains(['*', '?', '[']) => return Err(missing(literal, packing, source)),
        Err(_) => {}
    }
    let bad = |error: glob::PatternError| SourceError::BadPattern {
        pattern: pattern.to_owned(),
        problem: error.to_string(),
    };
    // A directory that cannot be read matches nothing.
    let files = glob::glob(pattern).map_err(bad)?.filter_map(Result::ok).filter(|path| path.is_file());
    version::newest(files).ok_or_else(|| SourceError::NoMatch {
        what: packing.what(),
        pattern: pattern.to_owned(),
        hint: install_hint(pattern, packing),
    })
}

fn missing(path: &Path, packing: Packing, source: io::Error) -> SourceError {
    let hint = if source.kind() == io::ErrorKind::NotFound {
        install_hint(&path.to_string_lossy(), packing)
    } else {
        String::new()
    };
    SourceError::Missing { what: packing.what(), path: path.to_owned(), source, hint }
}

/// Debian's package that puts a tarball where the user looks for it.
fn install_hint(pattern: &str, packing: Packing) -> String {
    if packing == Packing::Deb {
        return "\nhint: `apt-get download PACKAGE` fetches one without installing it".to_owned();
    }
    let Some(name) = pattern.strip_prefix("/usr/src/linux-source-") else { return String::new() };
    let version: String = name.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let version = version.trim_end_matches('.');
    if version.is_empty() {
        "\nhint: apt-get install linux-source".to_owned()
    } else {
        format!("\nhint: apt-get install linux-source-{version}")
    }
}

/// Unpacks an archive into the cache, or finds that it is there already.
pub(in crate::kernel) fn unpack(
    archive: &Path,
    digest: &Digest,
    packing: Packing,
    env: &BuildEnv,
    step: &mut dyn FnMut(String),
) -> Result<PathBuf, KernelProblem> {
    let sources = env.cache.sources();
    let done = sources.join(digest.to_string());
    if done.is_dir() {
        return Ok(done);
    }
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let doing = format!("unpacking {name}");
    let lock = cache::lock(&sources.join(format!("{digest}.lock")), env.interrupted, || {
        step(format!("waiting for another process that is {doing}"));
    })?;
    let _lock = match lock {
        Locked::AtOnce(lock) | Locked::AfterWaiting(lock) => lock,
        Locked::Interrupted => return Err(RunError::Interrupted.while_doing(doing)),
    };
    if done.is_dir() {
        return Ok(done);
    }
    step(doing.clone());
    // Left behind by a process that was killed; nobody else has the lock.
    let partial = sources.join(format!("{digest}.partial"));
    cache::remove(&partial)?;
    cache::create_dir(&partial)?;
    let unpacked = run::patiently(&packing.command(archive, &partial, env), env.interrupted);
    if let Err(error) = unpacked {
        // The first error is the one that matters.
        let _ = cache::remove(&partial);
        return Err(explain(error, archive, &sources, doing));
    }
    fs::rename(&partial, &done).at("create", &done)?;
    Ok(done)
}

fn explain(error: RunError, archive: &Path, into: &Path, doing: String) -> KernelProblem {
    let RunError::Exec(ExecError::Failed { stderr, .. }) = &error else { return error.while_doing(doing) };
    if stderr.contains("No space left on device") {
        let source = io::Error::from(io::ErrorKind::StorageFull);
        return FileError { action: "unpack into", path: into.to_owned(), source }.into();
    }
    let hint = if stderr.contains("Cannot exec") || stderr.contains("not found") {
        "\nhint: apt-get install xz-utils bzip2 zstd"
    } else {
        "\nhint: the file may be incomplete; fetch it again"
    };
    // Later lines say again that there was an error.
    let said = stderr.lines().take(3).collect::<Vec<_>>().join("\n");
    SourceError::Archive { path: archive.to_owned(), said, hint }.into()
}

/// The directory that an archive's files are in: its only one, or the top.
pub(super) fn root_of(unpacked: &Path) -> Result<PathBuf, FileError> {
    let entries: Result<Vec<_>, _> = fs::read_dir(unpacked).and_then(Iterator::collect).at("read", unpacked);
    Ok(match entries?.as_slice() {
        [only] if only.path().is_dir() => only.path(),
        _ => unpacked.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing;
    use std::cell::Cell;

    fn tarball(dir: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let tree = tempfile::tempdir().expect("tempdir");
        for (file, text) in files {
            let path = tree.path().join(file);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(path, text).expect("write");
        }
        let archive = dir.join(name);
        Cmd::new("tar").arg("-cf").arg(&archive).arg("-C").arg(tree.path()).arg(".").read().expect("tar");
        archive
    }

    #[test]
    fn a_pattern_means_the_newest_version() {
        let dir = tempfile::tempdir().expect("tempdir");
        for name in ["linux-source-6.1.tar.xz", "linux-source-6.12.tar.xz", "linux-source-6.9.tar.xz"] {
            fs::write(dir.path().join(name), "").expect("write");
        }
        // Newer, and a directory.
        fs::create_dir(dir.path().join("linux-source-7.0.tar.xz")).expect("mkdir");
        let pattern = dir.path().join("linux-source-*.tar.*");
        let found = find_archive(pattern.to_str().expect("utf-8"), Packing::Tar).expect("found");
        assert!(found.ends_with("linux-source-6.12.tar.xz"), "{}", found.display());
    }

    #[test]
    fn a_name_with_brackets_is_a_name_first() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("linux[1].tar");
        fs::write(&path, "").expect("write");
        let found = find_archive(path.to_str().expect("utf-8"), Packing::Tar).expect("found");
        assert!(found.ends_with("linux[1].tar"), "{}", found.display());
    }

    #[test]
    fn a_missing_debian_tarball_names_its_package() {
        insta::assert_snapshot!(
            find_archive("/usr/src/linux-source-5.99.tar.xz", Packing::Tar).expect_err("missing"),
            @"
        cannot find the source tarball `/usr/src/linux-source-5.99.tar.xz`: No such file or directory (os error 2)
        hint: apt-get install linux-source-5.99
        "
        );
        insta::assert_snapshot!(
            find_archive("/usr/src/linux-source-5.99*.tar.xz", Packing::Tar).expect_err("missing"),
            @"
        no source tarball matches `/usr/src/linux-source-5.99*.tar.xz`
        hint: apt-get install linux-source-5.99
        "
        );
        assert_eq!(
            install_hint("/usr/src/linux-source-*.tar.*", Packing::Tar),
            "\nhint: apt-get install linux-source"
        );
        assert_eq!(install_hint("/home/me/linux.tar.xz", Packing::Tar), "");
    }

    #[test]
    fn a_missing_package_says_how_to_fetch_one() {
        insta::assert_snapshot!(find_archive("/nonexistent/linux-image-*.deb", Packing::Deb).expect_err("missing"), @"
        no kernel package matches `/nonexistent/linux-image-*.deb`
        hint: `apt-get download PACKAGE` fetches one without installing it
        ");
    }

    #[test]
    fn a_broken_pattern_is_named() {
        let error = find_archive("/nonexistent/a***b", Packing::Tar).expect_err("broken");
        assert!(error.to_string().starts_with("`/nonexistent/a***b` is no file pattern: "), "{error}");
    }

    #[test]
    fn a_directory_is_no_tarball() {
        let dir = tempfile::tempdir().expect("tempdir");
        let error = find_archive(dir.path().to_str().expect("utf-8"), Packing::Tar).expect_err("directory");
        assert!(error.to_string().contains("is not a file\nhint: for an unpacked tree"), "{error}");
    }

    #[test]
    fn an_archive_is_unpacked_once() {
        let fixture = testing::Fixture::new();
        let archive = tarball(fixture.path(), "linux-6.12.tar", &[("linux-6.12/Makefile", "VERSION = 6")]);
        let digest = Digest::of("contents");
        let steps = Cell::new(0);
        let unpack =
            || unpack(&archive, &digest, Packing::Tar, &fixture.env, &mut |_| steps.set(steps.get() + 1));
        let first = unpack().expect("unpack");
        let root = root_of(&first).expect("root");
        assert_eq!(fs::read_to_string(root.join("Makefile")).expect("read"), "VERSION = 6");
        assert_eq!(unpack().expect("again"), first);
        assert_eq!(steps.get(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_not_taken_for_an_unpacked_archive() {
        let fixture = testing::Fixture::new();
        let archive = tarball(fixture.path(), "linux-6.12.tar", &[("linux-6.12/Makefile", "x")]);
        let digest = Digest::of("contents");
        let partial = fixture.env.cache.sources().join(format!("{digest}.partial"));
        fs::create_dir_all(&partial).expect("mkdir");
        fs::write(partial.join("half"), "").expect("write");
        let unpacked = unpack(&archive, &digest, Packing::Tar, &fixture.env, &mut |_| ()).expect("unpack");
        assert!(!unpacked.join("half").exists());
        assert!(!partial.exists());
    }

    #[test]
    fn a_truncated_archive_leaves_nothing_and_says_so() {
        let fixture = testing::Fixture::new();
        let archive = tarball(fixture.path(), "linux.tar", &[("linux/Makefile", &"x".repeat(100_000))]);
        let file = fs::File::options().write(true).open(&archive).expect("open");
        file.set_len(50_000).expect("truncate");
        let digest = Digest::of("contents");
        let error =
            unpack(&archive, &digest, Packing::Tar, &fixture.env, &mut |_| ()).expect_err("truncated");
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot unpack `{}`:\n  ", archive.display())), "{text}");
        assert!(text.ends_with("\nhint: the file may be incomplete; fetch it again"), "{text}");
        let left: Vec<_> = fs::read_dir(fixture.env.cache.sources()).expect("sources").collect();
        assert_eq!(left.len(), 1, "the lock alone: {left:?}");
    }

    #[test]
    fn a_full_disk_is_not_blamed_on_the_archive() {
        let error = RunError::Exec(ExecError::Failed {
            command: "tar".into(),
            status: "exit status: 2".into(),
            stderr: "tar: linux/x: Cannot write: No space left on device\n".into(),
        });
        let problem = explain(error, Path::new("/a.tar"), Path::new("/cache/x"), "unpacking".into());
        assert!(problem.to_string().starts_with("cannot unpack into `/cache/x`: "), "{problem}");
        assert!(problem.to_string().contains("KREGRESS_CACHE"), "{problem}");
    }

    #[test]
    fn a_missing_decompressor_names_its_package() {
        let error = RunError::Exec(ExecError::Failed {
            command: "tar".into(),
            status: "exit status: 2".into(),
            stderr: "tar (child): xz: Cannot exec: No such file or directory\n".into(),
        });
        let problem = explain(error, Path::new("/a.tar.xz"), Path::new("/cache/x"), "unpacking".into());
        assert!(problem.to_string().ends_with("\nhint: apt-get install xz-utils bzip2 zstd"), "{problem}");
    }

    #[test]
    fn unpacking_can_be_interrupted_and_leaves_nothing() {
        let mut fixture = testing::Fixture::new();
        fixture.tool("tar", "exec sleep 1000");
        fixture.env.interrupted = || true;
        let digest = Digest::of("contents");
        let error = unpack(Path::new("/a/linux.tar"), &digest, Packing::Tar, &fixture.env, &mut |_| ())
            .expect_err("interrupted");
        assert!(error.to_string().starts_with("interrupted while unpacking linux.tar"), "{error}");
        assert!(!fixture.env.cache.sources().join(format!("{digest}.partial")).exists());
    }
}
