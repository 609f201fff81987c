//! Plans and shards for tests.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{Bundle, Entry, Plan, Work, spread};
use crate::model::{BootEnd, BootInfo, RunEvent, ShardOf, TestResult, Turn};
use crate::results::format::{Run, State};
use crate::results::{testing, to_machine, to_test};

/// A plan of these tests, each of which takes a second and may go anywhere.
pub(super) fn plan(kernels: &[&str], tests: &[&str], boots: u32, shards: u32) -> Plan {
    let info = testing::info(kernels, tests, boots);
    let bundle = |at| Bundle { tests: vec![at], takes: Duration::from_secs(1) };
    let bundles: Vec<Bundle> = (0..tests.len()).map(bundle).collect();
    let work = Work {
        kregress: info.version.clone(),
        seed: info.seed,
        machine: to_machine(&info.machine),
        boots_per_kernel: boots,
        retries: info.retries,
        quiet_host: info.quiet_host,
        kernels: kernels
            .iter()
            .map(|name| Entry { name: (*name).to_owned(), entry: "e".to_owned() })
            .collect(),
        allowed: "a".to_owned(),
        tests: info.tests.iter().map(|test| to_test(test, info.suite_files.get(&test.id.suite))).collect(),
    };
    Plan::new(work, &spread(&bundles, NonZeroU32::new(shards).expect("a number of shards")))
}

/// What a run of a shard tells in which everything passes.
pub(super) fn events(plan: &Plan, number: u32) -> Vec<RunEvent> {
    let shard = plan.shard(number).expect("a shard");
    let work = plan.work();
    let kernels: Vec<&str> = work.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
    let all: Vec<&str> = work.tests.iter().map(|test| test.id.as_str()).collect();
    let mut info = testing::info(&kernels, &all, work.boots_per_kernel);
    info.tests.retain(|test| shard.tests.contains(&test.id.to_string()));
    info.shard = Some(ShardOf { plan: plan.id().to_owned(), number, of: plan.count() });
    info.started_unix += i64::from(number);
    info.host = BTreeMap::from([("cpu".to_owned(), format!("CPU {}", number.min(2)))]);
    let mut events = vec![RunEvent::RunStarted(info)];
    let mut id = 0;
    for name in kernels {
        events.push(testing::kernel_ready(name));
        for repeat in 1..=work.boots_per_kernel {
            id += 1;
            let turn = Turn::first(repeat);
            let launch = BootInfo { turn, ..testing::boot_info(id, name) };
            events.extend([RunEvent::BootStarted(launch), testing::ready(id)]);
            for test in &shard.tests {
                let result = TestResult { turn, ..testing::pass(test, name, id) };
                events.extend([testing::begun(id, test), RunEvent::TestFinished(result)]);
            }
            events.push(testing::ended(id, BootEnd::Clean));
        }
    }
    events.push(RunEvent::Notice("TCG as asked for".to_owned()));
    events.push(testing::finished());
    events
}

/// The record of it.
pub(super) fn run(plan: &Plan, number: u32) -> Run {
    closed(&events(plan, number))
}

/// The record of a run that told no more than this.
pub(super) fn closed(events: &[RunEvent]) -> Run {
    testing::fold(events).close(State::Unfinished)
}
