//! Contexts for tests of what the workloads make of their parameters.

use std::collections::BTreeMap;
use std::time::Duration;

use kregress_wire::{ParamInfo, Value, WorkloadInfo};

use crate::context::Context;
use crate::deadline::Deadline;

/// A value of a parameter, from what a test writes.
#[derive(Debug, Clone)]
pub(super) struct Param(Value);

impl From<&str> for Param {
    fn from(word: &str) -> Self {
        Self(Value::Text(word.into()))
    }
}

impl From<i64> for Param {
    fn from(number: i64) -> Self {
        Self(Value::Int(number))
    }
}

/// Calls `body` with the defaults of the workload, but for `changes`.
pub(super) fn with_params<T>(
    info: &WorkloadInfo,
    changes: &[(&str, Param)],
    body: impl FnOnce(&Context<'_>) -> T,
) -> T {
    let mut params: BTreeMap<String, Value> = info.params.iter().map(default).collect();
    for (name, Param(value)) in changes {
        let known = params.insert((*name).into(), value.clone());
        assert!(known.is_some(), "the workload has no parameter `{name}`");
    }
    let mut sink = |_| Ok(());
    body(&Context::new(1, &params, 7, Deadline::new(Duration::ZERO, Duration::ZERO), &mut sink))
}

fn default(param: &ParamInfo) -> (String, Value) {
    match *param {
        ParamInfo::Int { name, default, min, max, .. } => {
            assert!((min..=max).contains(&default), "`{name}`: {default} is not in {min}..={max}");
            (name.into(), Value::Int(default))
        }
        ParamInfo::Choice { name, default, choices, .. } => {
            assert!(choices.contains(&default), "`{name}`: {default} is none of {choices:?}");
            (name.into(), Value::Text(default.into()))
        }
    }
}

/// Every word of every choice that the workload declares.
pub(super) fn choices(info: &WorkloadInfo) -> Vec<(&'static str, &'static str)> {
    let words = info.params.iter().filter_map(|param| match *param {
        ParamInfo::Choice { name, choices, .. } => Some(choices.iter().map(move |word| (name, *word))),
        ParamInfo::Int { .. } => None,
    });
    words.flatten().collect()
}
