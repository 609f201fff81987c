//! A report in several files, for programs that look for `TEST-*.xml` below a
//! directory: one for each suite, so that a page of theirs has the name of a suite
//! and not that of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::series::SERIES;
use super::{Suite, suites, write_suites};
use crate::results::format::Run;
use crate::results::{self, ResultsError};
use crate::series::checked::Checked;

/// Longest part of a name that comes from a suite, in bytes: with what stands around
/// it well below `NAME_MAX` of any file system.
const LONGEST: usize = 100;

/// Writes the report of each suite of a run to `TEST-SUITE.xml` in this directory,
/// which is made where it is missing; that of a shard to `TEST-SUITE-SHARD.xml`, so
/// that the files of all shards can lie side by side. Files of the same name are
/// replaced. Gives the files, by name.
///
/// # Errors
///
/// Fails when the disk does.
pub fn save_each(run: &Run, directory: &Path) -> Result<Vec<PathBuf>, ResultsError> {
    std::fs::create_dir_all(directory)
        .map_err(|source| ResultsError::Write { path: directory.to_owned(), source })?;
    let mut files: BTreeMap<String, Vec<Suite>> = BTreeMap::new();
    let shard = run.plan.shard.as_ref().map(|shard| format!("-{}", shard.number)).unwrap_or_default();
    for suite in suites(run) {
        let name = format!("TEST-{}{shard}.xml", file_name(&suite.of));
        files.entry(name).or_default().push(suite);
    }
    let mut written = Vec::new();
    for (name, suites) in files {
        let path = directory.join(name);
        results::replace(&path, |file| write_suites(&suites, file).map_err(std::io::Error::other))?;
        written.push(path);
    }
    Ok(written)
}

/// Writes the report of a series to `TEST-series.xml` in this directory, likewise.
///
/// # Errors
///
/// Fails when the disk does.
pub fn save_series(checked: &Checked, directory: &Path) -> Result<(), ResultsError> {
    std::fs::create_dir_all(directory)
        .map_err(|source| ResultsError::Write { path: directory.to_owned(), source })?;
    let path = directory.join(format!("TEST-{SERIES}.xml"));
    results::replace(&path, |file| super::of_series(checked, file).map_err(std::io::Error::other))
}

/// Nothing in it leads out of a directory or hides a file, whatever a record says.
fn file_name(suite: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    suite.chars().take(LONGEST).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RunEvent, ShardOf};
    use crate::results::format::State;
    use crate::results::testing;

    fn written(run: &Run) -> (tempfile::TempDir, Vec<String>) {
        let directory = tempfile::tempdir().expect("a directory");
        let files = save_each(run, &directory.path().join("junit-reports")).expect("written");
        let name = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
        (directory, files.iter().map(name).collect())
    }

    #[test]
    fn each_suite_has_a_file_with_all_of_its_kernels_and_counts_of_its_own() {
        let run =
            testing::fold(&testing::whole_run(&["stable", "next"], &["smoke/a", "nsid/b", "nsid/c"], 1));
        let (directory, names) = written(&run.close(State::Finished));
        assert_eq!(names, ["TEST-kernel-health.xml", "TEST-nsid.xml", "TEST-smoke.xml"]);
        let text =
            std::fs::read_to_string(directory.path().join("junit-reports/TEST-nsid.xml")).expect("a file");
        assert!(text.contains("nsid on stable") && text.contains("nsid on next"), "{text}");
        assert!(text.contains("<testsuites name=\"kregress\" tests=\"4\""), "{text}");
    }

    #[test]
    fn files_of_a_shard_have_its_number() {
        let mut info = testing::info(&["stable"], &["smoke/a"], 1);
        info.shard = Some(ShardOf { plan: "0123456789abcdef".to_owned(), number: 3, of: 4 });
        let run = testing::fold(&[RunEvent::RunStarted(info)]).close(State::Unfinished);
        assert_eq!(written(&run).1, ["TEST-kernel-health-3.xml", "TEST-smoke-3.xml"]);
    }

    #[test]
    fn no_name_of_a_suite_leads_out_of_the_directory() {
        assert_eq!(file_name("../../etc/cron.d\0x"), ".._.._etc_cron.d_x");
        assert_eq!(file_name(&"x".repeat(4000)).len(), LONGEST);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("file"), "").expect("a file");
        let run = testing::fold(&testing::whole_run(&["k"], &["t/a"], 1)).close(State::Finished);
        let error = save_each(&run, &directory.path().join("file/below")).expect_err("no directory");
        assert!(error.to_string().contains("file/below"), "{error}");
    }
}
