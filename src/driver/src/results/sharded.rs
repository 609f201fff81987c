//! What a run's plan says on disk of shards: that it is one, or was joined from
//! several. Shape only, as in `format`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::format::State;

/// Which shard of which plan a run does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Id of the plan.
    pub plan: String,
    /// Its number, from 1.
    pub number: u32,
    /// Shards of the plan.
    pub of: u32,
}

/// Where a run that was joined came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// Id of the plan.
    pub plan: String,
    /// Shards of the plan.
    pub of: u32,
    /// Those that left a record, by number. Every test of the others is an error.
    pub shards: Vec<MergedShard>,
}

/// A shard that left a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergedShard {
    /// Its number, from 1.
    pub number: u32,
    /// Name of its run.
    pub run: String,
    /// Where that stands.
    pub state: State,
    /// Facts about its host.
    pub host: BTreeMap<String, String>,
    /// Its boots, by their numbers in the joined run: the first, and how many.
    pub first_boot: u32,
    /// How many boots it made.
    pub boots: u32,
}
