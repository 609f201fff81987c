//! `netns/churn`: creates and destroys namespaces as fast as the kernel lets.
//!
//! The two benchmarks of the net_mutex thread of 2017 (N times unshare in one
//! thread; N times fork, unshare and exit), and the two stress modes asked for
//! there: threads on every processor that create, or destroy, at once.

mod lean;
mod parallel;
mod serial;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};

use super::{begin_census, expect_all_gone, ns, time};
use crate::affinity;
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::ffi::CpuTime;
use crate::netns::Register;

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "netns/churn",
    summary: "creates and destroys namespaces as fast as the kernel lets",
    params: &[
        ParamInfo::Choice {
            name: "mode",
            summary: "unshare in one thread; fork, unshare and exit; threads that create, or destroy, at once",
            choices: &["unshare", "fork", "threads-create", "threads-destroy"],
            default: "unshare",
        },
        ParamInfo::Int {
            name: "count",
            summary: "namespaces per round, for each thread in the modes with threads",
            min: 1,
            max: 100_000,
            default: 500,
        },
        ParamInfo::Int {
            name: "threads",
            summary: "threads in the modes with threads; 0 is one for each processor",
            min: 0,
            max: 1024,
            default: 0,
        },
        ParamInfo::Int {
            name: "rounds",
            summary: "rounds, each of which ends when every namespace is gone",
            min: 1,
            max: 10_000,
            default: 3,
        },
    ],
    metrics: &[
        MetricInfo {
            name: "rate",
            summary: "namespaces created per second; in threads-destroy destroyed, until all are gone",
            unit: Unit::PerSecond,
            kind: Kind::Rate,
            better: Better::Higher,
        },
        time("elapsed", "a round's creations, or in threads-destroy its last references dropped"),
        time("user_time", "processor time in user mode during that"),
        time("system_time", "processor time in the kernel during that, without its workers"),
        MetricInfo {
            name: "cpu_share",
            summary: "processor time during that as a share of its length, as time(1) tells it",
            unit: Unit::Percent,
            kind: Kind::Ratio,
            better: Better::Lower,
        },
        MetricInfo {
            name: "scaling",
            summary: "rate of all threads as a share of the rate of one alone",
            unit: Unit::Percent,
            kind: Kind::Ratio,
            better: Better::Higher,
        },
        time("create_time", "one unshare call, sampled"),
        time("drain_time", "from the last reference dropped until every namespace is gone"),
    ],
    modules: &[],
};

/// Most samples of single calls in a round.
const MOST_SAMPLES: usize = 100;

/// What a round did.
#[derive(Debug, Default)]
struct Round {
    /// Namespaces created.
    namespaces: usize,
    /// Time of the part that is measured.
    elapsed_ns: u64,
    /// Processor time of that part.
    cpu: CpuTime,
    /// Single calls of unshare.
    create_ns: Vec<u64>,
    /// When the last reference was dropped, or where the drops began that are
    /// measured themselves.
    dropped_ns: u64,
    /// Assertions made on other threads.
    checks: u64,
}

/// What namespaces are made by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    Unshare,
    Fork,
    ThreadsCreate(Vec<usize>),
    ThreadsDestroy(Vec<usize>),
}

impl Mode {
    /// The same with one thread, if it has more.
    fn alone(&self) -> Option<Self> {
        let first = |cpus: &[usize]| (cpus.len() > 1).then(|| cpus[..1].to_vec());
        match self {
            Self::Unshare | Self::Fork => None,
            Self::ThreadsCreate(cpus) => first(cpus).map(Self::ThreadsCreate),
            Self::ThreadsDestroy(cpus) => first(cpus).map(Self::ThreadsDestroy),
        }
    }

    fn of(ctx: &Context<'_>) -> Result<Self, Stop> {
        let cpus = || {
            let cpus =
                affinity::cpus().map_err(|error| Stop::Error(format!("sched_getaffinity: {error}")))?;
            Ok(placement(&cpus, ctx.count("threads")?))
        };
        match ctx.choice("mode")? {
            "unshare" => Ok(Self::Unshare),
            "fork" => Ok(Self::Fork),
            "threads-create" => Ok(Self::ThreadsCreate(cpus()?)),
            "threads-destroy" => Ok(Self::ThreadsDestroy(cpus()?)),
            other => Err(Stop::Error(format!("parameter `mode` is `{other}`, which is none of its choices"))),
        }
    }
}

/// The processor of each thread.
fn placement(cpus: &[usize], threads: usize) -> Vec<usize> {
    let threads = if threads == 0 { cpus.len() } else { threads };
    cpus.iter().copied().cycle().take(threads).collect()
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let mode = Mode::of(ctx)?;
    let count = ctx.count("count")?;
    let rounds = ctx.count("rounds")?;
    let (mut census, mut spare) = begin_census(ctx)?;
    let mut register = Register::default();
    for done in 1..=rounds {
        census.open()?;
        ctx.dither();
        let steps = Steps { ctx, before: count * (done - 1), total: count * rounds };
        let round = match &mode {
            Mode::Unshare => serial::unshare(steps, count, &mut register)?,
            Mode::Fork => serial::fork(steps, count, &mut register)?,
            Mode::ThreadsCreate(cpus) => parallel::create(cpus, count, &mut register)?,
            Mode::ThreadsDestroy(cpus) => parallel::destroy(cpus, count, &mut register)?,
        };
        ctx.checked(round.checks);
        // It proved that the round before was over. Dropped only now, its own
        // teardown does not run beside the round.
        drop(spare);
        let gone = expect_all_gone(ctx, &mut census, round.namespaces)?;
        register.all_gone();
        let drain_ns = gone.at_ns.saturating_sub(round.dropped_ns);
        report(ctx, &mode, &round, drain_ns)?;
        if let Some(alone) = mode.alone() {
            let all = rate_of(&mode, &round, drain_ns)?;
            drop(gone);
            // The same work by one thread, right after that by all.
            drop(expect_all_gone(ctx, &mut census, 1)?);
            census.open()?;
            let round = match &alone {
                Mode::ThreadsDestroy(cpus) => parallel::destroy(cpus, count, &mut register)?,
                Mode::ThreadsCreate(cpus) => parallel::create(cpus, count, &mut register)?,
                Mode::Unshare | Mode::Fork => return Err(Stop::Error("a mode without threads".into())),
            };
            ctx.checked(round.checks);
            spare = expect_all_gone(ctx, &mut census, round.namespaces)?;
            register.all_gone();
            let one = rate_of(&alone, &round, spare.at_ns.saturating_sub(round.dropped_ns))?;
            ctx.sample("scaling", all / one * 100.0)?;
        } else {
            spare = gone;
        }
        steps.tell(count)?;
    }
    Ok(())
}

/// How far a run is, in namespaces of one thread.
#[derive(Debug, Clone, Copy)]
struct Steps<'a, 'c> {
    ctx: &'a Context<'c>,
    before: usize,
    total: usize,
}

impl Steps<'_, '_> {
    /// Tells that so many of the round's are done.
    fn tell(self, done: usize) -> WorkloadResult {
        let number = |count| u64::try_from(count).map_err(|_| Stop::Error(format!("{count} steps")));
        self.ctx.progress(number(self.before + done)?, number(self.total)?)
    }
}

fn report(ctx: &Context<'_>, mode: &Mode, round: &Round, drain_ns: u64) -> WorkloadResult {
    ctx.sample("rate", rate_of(mode, round, drain_ns)?)?;
    ctx.sample("elapsed", ns(round.elapsed_ns))?;
    ctx.sample("user_time", ns(round.cpu.user_ns))?;
    ctx.sample("system_time", ns(round.cpu.system_ns))?;
    let spent = round.cpu.user_ns + round.cpu.system_ns;
    ctx.sample("cpu_share", ns(spent) / ns(round.elapsed_ns.max(1)) * 100.0)?;
    ctx.sample("drain_time", ns(drain_ns))?;
    ctx.samples("create_time", round.create_ns.iter().copied().map(ns).collect())
}

/// What the mode is about: creations, or destructions until all are gone.
fn rate_of(mode: &Mode, round: &Round, drain_ns: u64) -> Result<f64, Stop> {
    let measured = if matches!(mode, Mode::ThreadsDestroy(_)) { drain_ns } else { round.elapsed_ns };
    let namespaces = u64::try_from(round.namespaces).map_err(|error| Stop::Error(error.to_string()))?;
    Ok(rate(namespaces, measured))
}

/// Events per second. A clock too coarse to see any time pass counts as one
/// nanosecond.
fn rate(events: u64, elapsed_ns: u64) -> f64 {
    ns(events) * 1e9 / ns(elapsed_ns.max(1))
}

/// Chooses about `most` of `count` steps, evenly spread; the first is one.
#[derive(Debug, Clone, Copy)]
struct Stride(usize);

impl Stride {
    fn new(count: usize, most: usize) -> Self {
        Self(count.div_ceil(most.max(1)).max(1))
    }

    fn chooses(self, step: usize) -> bool {
        step.is_multiple_of(self.0)
    }
}

/// Measures a stretch of work with holes in it.
#[derive(Debug)]
struct Stopwatch {
    started: Instant,
    paused_ns: u64,
    paused_cpu: CpuTime,
}

/// A moment in real time and in processor time.
#[derive(Debug, Clone, Copy)]
struct Instant {
    real_ns: u64,
    cpu: CpuTime,
}

impl Instant {
    fn now() -> Result<Self, Stop> {
        let cpu = crate::ffi::cpu_time().map_err(|error| Stop::Error(format!("getrusage: {error}")))?;
        Ok(Self { real_ns: clock::monotonic_ns(), cpu })
    }
}

impl Stopwatch {
    fn start() -> Result<Self, Stop> {
        Ok(Self { started: Instant::now()?, paused_ns: 0, paused_cpu: CpuTime::default() })
    }

    /// Does something that is not to be measured.
    fn paused<R>(&mut self, work: impl FnOnce() -> Result<R, Stop>) -> Result<R, Stop> {
        let before = Instant::now()?;
        let result = work()?;
        let (real_ns, cpu) = since(before)?;
        self.paused_ns += real_ns;
        self.paused_cpu = self.paused_cpu + cpu;
        Ok(result)
    }

    /// Real time and processor time so far.
    fn stop(&self) -> Result<(u64, CpuTime), Stop> {
        let (real_ns, cpu) = since(self.started)?;
        Ok((real_ns.saturating_sub(self.paused_ns), cpu - self.paused_cpu))
    }
}

fn since(before: Instant) -> Result<(u64, CpuTime), Stop> {
    let now = Instant::now()?;
    Ok((now.real_ns.saturating_sub(before.real_ns), now.cpu - before.cpu))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn threads_are_spread_over_the_processors() {
        assert_eq!(placement(&[0, 2, 5], 0), [0, 2, 5]);
        assert_eq!(placement(&[0, 2, 5], 2), [0, 2]);
        assert_eq!(placement(&[0, 2], 5), [0, 2, 0, 2, 0]);
    }

    #[test]
    fn a_rate_is_events_per_second() {
        assert_eq!(rate(500, 250_000_000), 2000.0);
        assert!(rate(1, 0).is_finite());
    }

    #[test]
    fn pauses_are_not_measured() {
        let mut watch = Stopwatch::start().expect("clock");
        let before = clock::monotonic_ns();
        watch
            .paused(|| {
                clock::poll_interval(std::time::Duration::from_millis(20));
                Ok(())
            })
            .expect("pause");
        let (elapsed, _) = watch.stop().expect("clock");
        let all = clock::monotonic_ns() - before;
        assert!(all >= 20_000_000 && elapsed < all, "{elapsed} of {all}");
        assert!(watch.paused_ns >= 20_000_000);
    }

    proptest! {
        #[test]
        fn a_stride_chooses_the_first_step_and_not_too_many(count in 1_usize..5000, most in 1_usize..600) {
            let stride = Stride::new(count, most);
            let chosen = (0..count).filter(|step| stride.chooses(*step)).count();
            prop_assert!(stride.chooses(0));
            prop_assert!((1..=most).contains(&chosen), "{} of {}", chosen, count);
            prop_assert!(chosen * 2 >= most.min(count), "{} of {}", chosen, count);
        }
    }
}
