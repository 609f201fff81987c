//! The plan file: what a run would do, and which shard does what. Owns its shape, its
//! id, and the rule that a plan which can be read makes sense.
//!
//! `results/plan.schema.json` describes it. A field may be added within [`VERSION`]; a
//! field that goes, or gets a new meaning, needs the next version.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::spread::Bundle;
use crate::report::text_safety;
use crate::results::format::{Machine, Test};
use crate::results::{self, ResultsError};

/// Version of the file.
const VERSION: u32 = 1;

/// Name of the copy that each run of a shard keeps: with it, any one of them knows what
/// the others were to do.
pub const COPY_FILE: &str = "shards.json";

/// Longest plan that is read, in bytes: a thousand times what all our suites take.
const LIMIT: u64 = 128 << 20;

/// What all shards together are to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Version of the kregress that planned it.
    pub kregress: String,
    /// Seed of everything random; text on disk.
    #[serde(with = "results::decimal")]
    pub seed: u64,
    /// Machine as asked for.
    pub machine: Machine,
    /// Boots of each kernel.
    pub boots_per_kernel: u32,
    /// How often a test that did not pass is repeated.
    pub retries: u32,
    /// Boots that measure times have their host for themselves.
    pub quiet_host: bool,
    /// Kernels in the order of the command line; every shard boots all of them.
    pub kernels: Vec<Entry>,
    /// SHA-256 of the findings that are allowed.
    pub allowed: String,
    /// Tests in order.
    pub tests: Vec<Test>,
}

/// A kernel of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// As named on the command line.
    pub name: String,
    /// SHA-256 of what the configuration says of it.
    pub entry: String,
}

/// A shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// Full names of its tests, in the order of the plan.
    pub tests: Vec<String>,
    /// What one boot's worth of its tests is expected to take, in milliseconds on a
    /// machine without slowdown.
    pub expected_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Plan,
}

/// A plan. Whoever holds one holds no contradiction: its id is that of its content, and
/// every test is in one shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    version: u32,
    kind: Kind,
    id: String,
    #[serde(flatten)]
    work: Work,
    shards: Vec<Part>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file.
    #[error("cannot read the plan `{path}`: {source}\nhint: `kregress plan` writes one")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file beyond all reason.
    #[error("the plan `{path}` is longer than {LIMIT} bytes\nhint: is it a file of `kregress plan`?")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error(
        "the plan `{path}` has version {found} of the format; this kregress reads version {VERSION}\n\
         hint: plan and run shards with the same kregress"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
    },
    /// It cannot be understood, or contradicts itself.
    #[error("the plan `{path}` is damaged: {reason}\nhint: make it again with `kregress plan`")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Plan {
    /// The plan of this work in these shards, each of which has tests by their places.
    #[must_use]
    pub fn new(work: Work, shards: &[Bundle]) -> Self {
        let name = |at: &usize| work.tests.get(*at).map(|test| test.id.clone());
        let part = |(number, shard): (u32, &Bundle)| Part {
            number,
            tests: shard.tests.iter().filter_map(name).collect(),
            expected_ms: whole_milliseconds(shard.takes),
        };
        let shards = (1..).zip(shards).map(part).collect();
        let mut plan = Self { version: VERSION, kind: Kind::Plan, id: String::new(), work, shards };
        plan.id = plan.digest();
        plan
    }

    /// The first 16 digits of the SHA-256 of everything else.
    fn digest(&self) -> String {
        // Nothing in it can fail to be written: no map has keys other than text.
        let bytes = serde_json::to_vec(&(self.version, &self.work, &self.shards)).unwrap_or_default();
        hex(&bytes, 16)
    }

    /// What it is known by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What all shards together are to do.
    #[must_use]
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Its shards, by number.
    #[must_use]
    pub fn shards(&self) -> &[Part] {
        &self.shards
    }

    /// How many shards it has.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.shards.len()).unwrap_or(u32::MAX)
    }

    /// The shard of this number.
    #[must_use]
    pub fn shard(&self, number: u32) -> Option<&Part> {
        self.shards.iter().find(|shard| shard.number == number)
    }

    /// Tests of a shard, in order.
    #[must_use]
    pub fn tests_of(&self, shard: &Part) -> Vec<&Test> {
        let known: BTreeMap<&str, &Test> =
            self.work.tests.iter().map(|test| (test.id.as_str(), test)).collect();
        shard.tests.iter().filter_map(|id| known.get(id.as_str()).copied()).collect()
    }

    /// Reads a plan.
    ///
    /// # Errors
    ///
    /// Fails when there is none, or one that this version cannot read.
    pub fn read(path: &Path) -> Result<Self, PlanError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| PlanError::Read { path: path.to_owned(), source })?;
        if bytes.len() as u64 > LIMIT {
            return Err(PlanError::TooLong { path: path.to_owned() });
        }
        Self::parse(path, &bytes)
    }

    /// The plan of these bytes, which are those of `path`.
    ///
    /// # Errors
    ///
    /// Fails when they are no plan, or one that contradicts itself.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, PlanError> {
        #[derive(Deserialize)]
        struct Stamp {
            version: u32,
        }
        let damaged = |reason: String| PlanError::Damaged { path: path.to_owned(), reason };
        let stamp: Stamp = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if stamp.version != VERSION {
            return Err(PlanError::Version { path: path.to_owned(), found: stamp.version });
        }
        let plan: Self = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        plan.check().map_err(damaged)?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), String> {
        if self.id != self.digest() {
            return Err("its id is not that of its content: it was changed after it was made".to_owned());
        }
        let Work { kernels, tests, boots_per_kernel, retries, kregress, .. } = &self.work;
        let names: BTreeSet<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
        let ids: BTreeSet<&str> = tests.iter().map(|test| test.id.as_str()).collect();
        let texts = tests.iter().flat_map(|test| [&test.id, &test.suite, &test.name]).chain([kregress]);
        // They stand in messages and reports as they are.
        for text in texts.map(String::as_str).chain(names.iter().copied()) {
            if text_safety::verbatim(text) != text {
                return Err(format!("`{}` is no name", text_safety::name(text)));
            }
        }
        if names.is_empty() || ids.is_empty() || *boots_per_kernel == 0 {
            return Err("there is nothing to do in it".to_owned());
        }
        if names.len() != kernels.len() || ids.len() != tests.len() {
            return Err("it names a kernel or a test twice".to_owned());
        }
        let verdicts = kernels.len() as u128
            * tests.len() as u128
            * u128::from(*boots_per_kernel)
            * (1 + u128::from(*retries));
        if verdicts > results::MAX_VERDICTS {
            return Err(format!(
                "it asks for {verdicts} verdicts; one run can have {}",
                results::MAX_VERDICTS
            ));
        }
        if !self.shards.iter().map(|shard| shard.number).eq(1..=self.count()) {
            return Err("its shards are not numbered 1, 2, 3 and so on".to_owned());
        }
        let mut left = ids;
        for id in self.shards.iter().flat_map(|shard| &shard.tests) {
            if !left.remove(id.as_str()) {
                return Err(format!("`{}` is in two shards, or is no test of it", text_safety::name(id)));
            }
        }
        match left.first() {
            Some(id) => Err(format!("`{id}` is in no shard")),
            None => Ok(()),
        }
    }

    /// The file, as bytes.
    ///
    /// # Errors
    ///
    /// None that is known: there is nothing in it that JSON has no word for.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Writes the file; what was there is replaced in one go.
    ///
    /// # Errors
    ///
    /// Fails when the disk does.
    pub fn write(&self, path: &Path) -> Result<(), ResultsError> {
        results::replace(path, |file| file.write_all(&self.to_bytes()?))
    }
}

/// The first digits of a SHA-256.
pub(super) fn hex(bytes: &[u8], digits: usize) -> String {
    let mut hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(digits);
    hex
}

fn whole_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    fn why(bytes: &[u8]) -> String {
        Plan::parse(Path::new("plan.json"), bytes).expect_err("no plan").to_string()
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let plan = testing::plan(&["fake"], &["t/a", "t/b", "u/c"], 2, 2);
        let path = dir.path().join("plan.json");
        plan.write(&path).expect("written");
        assert_eq!(Plan::read(&path).expect("read"), plan);
        assert_eq!(plan.shards()[0].tests, ["t/a", "u/c"]);
        assert_eq!(plan.shards()[1].tests, ["t/b"]);
        assert_eq!(plan.count(), 2);
    }

    #[test]
    fn the_same_work_in_the_same_shards_has_the_same_id_and_other_work_another() {
        let id = |tests: &[&str], boots| testing::plan(&["fake"], tests, boots, 2).id().to_owned();
        assert_eq!(id(&["t/a", "t/b"], 1), id(&["t/a", "t/b"], 1));
        assert_ne!(id(&["t/a", "t/b"], 1), id(&["t/a", "t/b"], 2));
        assert_ne!(id(&["t/a", "t/b"], 1), id(&["t/b", "t/a"], 1));
    }

    #[test]
    fn a_plan_that_was_changed_says_so() {
        let plan = testing::plan(&["fake"], &["t/a", "t/b"], 1, 2);
        let text = String::from_utf8(plan.to_bytes().expect("bytes")).expect("text");
        insta::assert_snapshot!(why(text.replace("\"retries\":0", "\"retries\":3").as_bytes()), @r"
        the plan `plan.json` is damaged: its id is not that of its content: it was changed after it was made
        hint: make it again with `kregress plan`
        ");
        insta::assert_snapshot!(why(text.replace("\"version\":1", "\"version\":2").as_bytes()), @r"
        the plan `plan.json` has version 2 of the format; this kregress reads version 1
        hint: plan and run shards with the same kregress
        ");
    }

    #[test]
    fn a_plan_that_contradicts_itself_is_refused_though_its_id_is_right() {
        let why = |change: &dyn Fn(&mut Plan)| {
            let mut plan = testing::plan(&["fake"], &["t/a", "t/b"], 1, 2);
            change(&mut plan);
            plan.id = plan.digest();
            plan.check().expect_err("a contradiction")
        };
        assert_eq!(why(&|plan| plan.shards[0].tests.clear()), "`t/a` is in no shard");
        assert_eq!(
            why(&|plan| plan.shards[1].tests.push("t/a".to_owned())),
            "`t/a` is in two shards, or is no test of it"
        );
        assert_eq!(why(&|plan| plan.shards[1].number = 7), "its shards are not numbered 1, 2, 3 and so on");
        assert_eq!(why(&|plan| plan.work.boots_per_kernel = 0), "there is nothing to do in it");
        assert_eq!(
            why(&|plan| plan.work.boots_per_kernel = u32::MAX),
            "it asks for 8589934590 verdicts; one run can have 1048576"
        );
        assert_eq!(
            why(&|plan| plan.work.kernels.push(plan.work.kernels[0].clone())),
            "it names a kernel or a test twice"
        );
        let escape = why(&|plan| plan.work.kernels[0].name = "\u{1b}[2J".to_owned());
        assert!(escape.ends_with("is no name") && !escape.contains('\u{1b}'), "{escape}");
    }

    #[test]
    fn a_plan_satisfies_its_schema() {
        let read = |name: &str| -> serde_json::Value {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results").join(name);
            serde_json::from_slice(&std::fs::read(path).expect("a schema")).expect("JSON")
        };
        let run = jsonschema::Resource::from_contents(read("run.schema.json")).expect("a schema");
        let schema = jsonschema::options()
            .with_base_uri("file:///results/self.json")
            .with_resource("file:///results/run.schema.json", run)
            .build(&read("plan.schema.json"))
            .expect("a schema");
        let plan = testing::plan(&["fake", "other"], &["t/a", "t/b[n=3]"], 2, 2);
        let mut value = serde_json::to_value(&plan).expect("JSON");
        assert_eq!(schema.iter_errors(&value).map(|error| error.to_string()).collect::<Vec<_>>(), [""; 0]);
        value["surprise"] = 1.into();
        assert!(!schema.is_valid(&value));
    }

    proptest! {
        #[test]
        fn damage_is_never_a_panic_and_never_another_plan(
            at: prop::sample::Index,
            bytes in prop::collection::vec(any::<u8>(), 1..20),
        ) {
            let plan = testing::plan(&["fake"], &["t/a", "t/b[n=3]"], 1, 2);
            let mut damaged = plan.to_bytes().expect("bytes");
            let at = at.index(damaged.len());
            let end = (at + bytes.len()).min(damaged.len());
            damaged[at..end].copy_from_slice(&bytes[..end - at]);
            if let Ok(read) = Plan::parse(Path::new("plan.json"), &damaged) {
                prop_assert_eq!(read, plan);
            }
        }
    }
}
