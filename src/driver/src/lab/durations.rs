//! How long tests took before, to begin with the longest. A wrong or missing
//! figure costs a little time and nothing else, so nothing here fails.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::Test;

/// What a test is taken for that was never seen. From experience: the median of
/// our suites under TCG, without its slowdown.
const UNKNOWN: Duration = Duration::from_millis(200);

/// Tests that are remembered. Beyond that they go in the order of their names: a
/// bound on the file, not a choice.
const MOST: usize = 20_000;

/// Durations of tests, in milliseconds on a machine without slowdown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Durations {
    file: PathBuf,
    known: BTreeMap<String, u64>,
    news: bool,
}

impl Durations {
    /// Those that are kept in the cache directory.
    pub(super) fn within(cache: &Path) -> Self {
        let file = cache.join("estimates/tests.json");
        let known = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { file, known: known.unwrap_or_default(), news: false }
    }

    /// What a test is expected to take where everything takes `slowdown` times as long.
    pub(super) fn estimate(&self, test: &Test, slowdown: f64) -> Duration {
        let known = self.known.get(&test.id.to_string()).map(|ms| Duration::from_millis(*ms));
        known.unwrap_or(UNKNOWN).mul_f64(slowdown.clamp(1.0, 1000.0))
    }

    /// Learns how long a test took.
    pub(super) fn learn(&mut self, test: &str, elapsed: Duration, slowdown: f64) {
        let plain = elapsed.div_f64(slowdown.clamp(1.0, 1000.0)).as_millis();
        let plain = u64::try_from(plain).unwrap_or(u64::MAX);
        // Half of what was known stays, so that one bad day is soon forgotten
        // and one good day does not count for much.
        let known = self.known.entry(test.to_owned()).or_insert(plain);
        *known = known.midpoint(plain);
        self.news = true;
        while self.known.len() > MOST {
            self.known.pop_first();
        }
    }

    /// Keeps what was learned.
    pub(super) fn save(&self) {
        if self.news {
            // The next run does without.
            let _ = self.write();
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let directory = self.file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer(&mut file, &self.known)?;
        file.flush()?;
        file.persist(&self.file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::testing;

    fn test(id: &str) -> Test {
        testing::info(&["k"], &[id], 1).tests.remove(0)
    }

    #[test]
    fn what_was_learned_is_there_the_next_time_and_scales() {
        let cache = tempfile::tempdir().expect("a directory");
        let mut durations = Durations::within(cache.path());
        let test = test("smoke/a[n=3]");
        assert_eq!(durations.estimate(&test, 4.0), UNKNOWN * 4);
        durations.learn("smoke/a[n=3]", Duration::from_secs(8), 4.0);
        durations.save();
        let again = Durations::within(cache.path());
        assert_eq!(again.estimate(&test, 1.0), Duration::from_secs(2));
        assert_eq!(again.estimate(&test, 12.0), Duration::from_secs(24));
    }

    #[test]
    fn a_new_figure_counts_half() {
        let mut durations = Durations::default();
        let test = test("smoke/a");
        durations.learn("smoke/a", Duration::from_secs(2), 1.0);
        durations.learn("smoke/a", Duration::from_secs(4), 1.0);
        assert_eq!(durations.estimate(&test, 1.0), Duration::from_secs(3));
    }

    #[test]
    fn a_damaged_or_unwritable_file_is_no_trouble() {
        let cache = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(cache.path().join("estimates")).expect("a directory");
        std::fs::write(cache.path().join("estimates/tests.json"), "{").expect("a file");
        let mut durations = Durations::within(cache.path());
        assert_eq!(durations.known.len(), 0);
        durations.learn("smoke/a", Duration::from_secs(1), 1.0);
        durations.file = PathBuf::from("/proc/nowhere/tests.json");
        durations.save();
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let known = (0..MOST as u64).map(|n| (format!("t/{n}"), 1)).collect();
        let mut durations = Durations { known, ..Durations::default() };
        durations.learn("smoke/a", Duration::from_secs(1), 1.0);
        assert_eq!(durations.known.len(), MOST);
    }
}
