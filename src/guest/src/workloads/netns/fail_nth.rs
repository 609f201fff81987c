//! `netns/fail-nth`: every allocation in the making of a namespace fails once.
//!
//! `/proc/thread-self/fail-nth` lets the nth allocation of the next call fail
//! (Documentation/fault-injection/fault-injection.rst). Whatever fails, the
//! namespace is undone to the last count, and nothing else comes of it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use rustix::io::Errno;

use super::{begin_census, expect_all_gone, ns};
use crate::context::{Context, Stop, WorkloadResult};
use crate::ffi;
use crate::netns::Home;

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "netns/fail-nth",
    summary: "lets every allocation in the making of a namespace fail once",
    params: &[
        ParamInfo::Int {
            name: "first",
            summary: "number of the first allocation that fails",
            min: 1,
            max: 1_000_000,
            default: 1,
        },
        ParamInfo::Int {
            name: "most",
            summary: "allocations that fail, if there are as many",
            min: 1,
            max: 1_000_000,
            default: 3000,
        },
    ],
    metrics: &[MetricInfo {
        name: "injected",
        summary: "allocations that were made to fail",
        unit: Unit::One,
        kind: Kind::Count,
        better: Better::Higher,
    }],
    modules: &[],
};

const FAIL_NTH: &str = "/proc/thread-self/fail-nth";

/// Settings of failing slab and page allocations: fail also where the caller may
/// sleep, which is nearly everywhere; and do not print a stack for each.
const SETTINGS: [(&str, &str); 4] = [
    ("/sys/kernel/debug/failslab/ignore-gfp-wait", "N"),
    ("/sys/kernel/debug/failslab/verbose", "0"),
    ("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N"),
    ("/sys/kernel/debug/fail_page_alloc/verbose", "0"),
];

/// Namespaces between two looks whether all are gone.
const SETTLE: usize = 100;

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let (first, most) = (ctx.count("first")?, ctx.count("most")?);
    if !fs::exists(FAIL_NTH).unwrap_or(false) {
        return Err(Stop::Skip(format!(
            "{FAIL_NTH} does not exist; needs CONFIG_FAULT_INJECTION and CONFIG_FAILSLAB"
        )));
    }
    for (path, value) in SETTINGS {
        match fs::write(path, value) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                ctx.note("absent", format!("{path}; needs CONFIG_FAULT_INJECTION_DEBUG_FS"))?;
            }
            Err(error) => return Err(Stop::Error(format!("cannot write `{value}` to {path}: {error}"))),
        }
    }
    let fail = FailNth::open()?;
    let home = Home::here()?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    let mut injected = 0_u64;
    let mut whole = false;
    for (done, nth) in (first..first.saturating_add(most)).enumerate() {
        fail.set(nth)?;
        let created = ffi::unshare_net();
        let failed = fail.injected()?;
        fail.set(0)?;
        home.back()?;
        let word = created.map_or_else(|error| error.to_string(), |()| "created all the same".into());
        if !failed {
            ctx.check(created.is_ok(), || format!("without a failing allocation, unshare failed: {word}"))?;
            whole = true;
            break;
        }
        injected += 1;
        // Init functions tell of what they could not make by errors of their own:
        // EEXIST for a proc entry, ENODEV for a device. What may not come is an
        // error that speaks of the call: it was right.
        let allowed = !matches!(
            created,
            Err(Errno::INVAL | Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::FAULT | Errno::USERS)
        );
        ctx.check(allowed, || format!("when allocation {nth} fails, unshare ends with `{word}`"))?;
        *outcomes.entry(word).or_default() += 1;
        if done % SETTLE == SETTLE - 1 {
            drop(expect_all_gone(ctx, &mut census, SETTLE)?);
            census.open()?;
        }
        ctx.progress(u64::try_from(done + 1).unwrap_or(0), u64::try_from(most).unwrap_or(0))?;
    }
    for (outcome, times) in outcomes {
        ctx.note(&outcome.replace(' ', "-"), times.to_string())?;
    }
    ctx.note("all-allocations", if whole { "yes" } else { "no: the parameter `most` was reached" })?;
    ctx.sample("injected", ns(injected))?;
    expect_all_gone(ctx, &mut census, SETTLE).map(drop)
}

/// The file of this task. Opened once: to open it is to allocate, and may fail.
struct FailNth(File);

impl FailNth {
    fn open() -> Result<Self, Stop> {
        let file = OpenOptions::new().read(true).write(true).open(FAIL_NTH);
        file.map(Self).map_err(|error| Stop::Error(format!("cannot open {FAIL_NTH}: {error}")))
    }

    /// Lets the nth allocation from now on fail; 0 none.
    fn set(&self, nth: usize) -> Result<(), Stop> {
        self.0
            .write_all_at(nth.to_string().as_bytes(), 0)
            .map_err(|error| Stop::Error(format!("cannot write `{nth}` to {FAIL_NTH}: {error}")))
    }

    /// Whether one has failed.
    fn injected(&self) -> Result<bool, Stop> {
        let mut bytes = [0; 16];
        let count = self
            .0
            .read_at(&mut bytes, 0)
            .map_err(|error| Stop::Error(format!("cannot read {FAIL_NTH}: {error}")))?;
        Ok(bytes.get(..count).is_some_and(|bytes| bytes.trim_ascii() == b"0"))
    }
}
