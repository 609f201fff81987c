//! `netns/slope`: what one namespace more costs in a teardown.
//!
//! Batches of several sizes die by turns. A straight line through their times gives
//! the time of one namespace more, once for each round; the calls that the kernel
//! makes for the largest batch, less those for the smallest, give its grace
//! periods. A kernel that waits for one per namespace is at fault: teardown has
//! been batched since 2.6.33 (2b035b399707), and each such wait comes back as a
//! queue of dying namespaces that grows faster than it drains.

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};

use super::drain::{Completion, Counted, Counting, FUNCTIONS, drain_traced, fill};
use super::{begin_census, expect_all_gone, ns};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::{self, Dress, Wardrobe};
use crate::netns::{Home, Look, Register};
use crate::work_time::{WorkTime, Workers};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "netns/slope",
    summary: "measures what one namespace more costs in a teardown",
    params: &[
        ParamInfo::Int {
            name: "most",
            summary: "namespaces of the largest batch; the others have 1, a twentieth and a quarter of it",
            min: 40,
            max: 20_000,
            default: 200,
        },
        ParamInfo::Int {
            name: "rounds",
            summary: "how often each batch is timed",
            min: 1,
            max: 1_000,
            default: 3,
        },
        ParamInfo::Choice {
            name: "dress",
            summary: "what a namespace wears: as of netns/drain",
            choices: dress::CHOICES,
            default: "bare",
        },
        ParamInfo::Choice {
            name: "waits",
            summary: "whether waits that grow with the batch are a failure, or recorded only",
            choices: &["batched", "any"],
            default: "batched",
        },
        ParamInfo::Choice {
            name: "completion",
            summary: "what tells the end: workqueue tracepoints, the count of namespaces, or the best there is",
            choices: &["auto", "tracepoints", "ucount"],
            default: "auto",
        },
    ],
    metrics: &[
        MetricInfo {
            name: "slope",
            summary: "drain time of one namespace more: least squares through the sizes of a round",
            unit: Unit::Nanoseconds,
            kind: Kind::Time,
            better: Better::Lower,
        },
        MetricInfo {
            name: "work_slope",
            summary: "processor time of the workers that execute cleanup_net, for one namespace more",
            unit: Unit::Nanoseconds,
            kind: Kind::Time,
            better: Better::Lower,
        },
        MetricInfo {
            name: "synchronize_rcu_slope",
            summary: "calls of synchronize_rcu for one namespace more",
            unit: Unit::One,
            kind: Kind::Count,
            better: Better::Lower,
        },
    ],
    modules: dress::MODULES,
};

/// Functions of which a batch needs no more than a single namespace does.
const BATCHED: [&str; 5] =
    ["synchronize_rcu", "synchronize_rcu_expedited", "synchronize_net", "rcu_barrier", "msleep"];

/// Calls per namespace from which on a wait counts as one for each. A wait for
/// every namespace gives 1, or 0.5 where a batch was torn into rounds of two; a
/// batch in a few rounds gives some hundredths.
const EACH: f64 = 0.25;

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let sizes = sizes(ctx.count("most")?);
    let rounds = ctx.count("rounds")?;
    let batched = match ctx.choice("waits")? {
        "batched" => true,
        "any" => false,
        other => {
            return Err(Stop::Error(format!("parameter `waits` is `{other}`, which is none of its choices")));
        }
    };
    let wardrobe = Wardrobe::open(Dress::named(ctx.choice("dress")?)?)?;
    wardrobe.tell(ctx)?;
    let mut completion = Completion::choose(ctx)?;
    let home = Home::here()?;
    let (mut census, mut spare) = begin_census(ctx)?;
    let mut register = Register::default();
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); sizes.len()];
    let mut work = times.clone();
    let total = u64::try_from(rounds * sizes.len() + 2).unwrap_or(u64::MAX);
    let mut done = 0;
    for _ in 0..rounds {
        for ((size, times), work) in sizes.iter().zip(&mut times).zip(&mut work) {
            census.open()?;
            let (held, _) = fill(&home, spare, *size, &mut register, &wardrobe)?;
            ctx.checked(Look::Socket.checks() * u64::try_from(held.len()).unwrap_or(0));
            let before = WorkTime::now();
            ctx.dither();
            let workers = match &mut completion {
                Completion::Tracepoints(instance) => {
                    let (dropped_ns, drain) = drain_traced(ctx, instance, held)?;
                    spare = expect_all_gone(ctx, &mut census, *size)?;
                    times.push(drain.ended_ns.saturating_sub(dropped_ns));
                    Workers::These(drain.workers)
                }
                Completion::Ucount => {
                    census.close()?;
                    let dropped_ns = clock::monotonic_ns();
                    drop(held);
                    spare = expect_all_gone(ctx, &mut census, *size)?;
                    times.push(spare.at_ns.saturating_sub(dropped_ns));
                    Workers::All
                }
            };
            work.push(WorkTime::now().since(&before, &workers));
            register.all_gone();
            done += 1;
            ctx.progress(done, total)?;
        }
    }
    drop(completion);
    ctx.samples("slope", slopes(&sizes, &times))?;
    ctx.samples("work_slope", slopes(&sizes, &work))?;

    let mut counting = match Counting::begin(ctx)? {
        Ok(counting) => counting,
        // Without the counts nothing would be asserted.
        Err(reason) if batched => return Err(Stop::Skip(format!("waits cannot be counted: {reason}"))),
        Err(_) => return Ok(()),
    };
    if batched {
        counting.expect(BATCHED[0])?;
    }
    let (one, most) = (1, sizes.last().copied().unwrap_or(1));
    let mut counted = Vec::new();
    for size in [one, most] {
        census.open()?;
        let (held, _) = fill(&home, spare, size, &mut register, &wardrobe)?;
        let (calls, gone) = counting.drain(ctx, &mut census, held)?;
        spare = gone;
        register.all_gone();
        counted.push(calls);
        done += 1;
        ctx.progress(done, total)?;
    }
    let [one, many] = counted.as_slice() else { return Err(Stop::Error("no drains were counted".into())) };
    for function in FUNCTIONS {
        let Some(each) = growth(one, many, most, function) else { continue };
        ctx.note(&format!("{function}-per-namespace"), format!("{each:.2}"))?;
        if *function == "synchronize_rcu" {
            ctx.sample("synchronize_rcu_slope", each)?;
        }
        if batched && BATCHED.contains(function) {
            ctx.check(each < EACH, || {
                format!(
                    "teardown calls {function} {each:.2} times for every namespace: {} calls for {most} of them \
                     in {} rounds, {} for one",
                    calls(many, function).unwrap_or(0), many.rounds, calls(one, function).unwrap_or(0)
                )
            })?;
        }
    }
    Ok(())
}

/// The slope of each round. `times` are those of every size, in the order of rounds.
fn slopes(sizes: &[usize], times: &[Vec<u64>]) -> Vec<f64> {
    let rounds = times.iter().map(Vec::len).min().unwrap_or(0);
    let of_round = |round: usize| {
        let point = |(size, times): (&usize, &Vec<u64>)| Some((count(*size), ns(*times.get(round)?)));
        slope(&sizes.iter().zip(times).filter_map(point).collect::<Vec<_>>())
    };
    (0..rounds).map(of_round).collect()
}

/// Sizes of the batches, ascending.
fn sizes(most: usize) -> [usize; 4] {
    [1, most / 20, most / 4, most]
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
fn count(value: usize) -> f64 {
    value as f64
}

fn calls(counted: &Counted, function: &str) -> Option<u64> {
    counted.calls.iter().find(|(name, _)| *name == function).map(|(_, calls)| *calls)
}

/// Calls for each namespace beyond the first, after those that every round of
/// cleanup takes whatever its size.
fn growth(one: &Counted, many: &Counted, most: usize, function: &str) -> Option<f64> {
    let per_round = ns(calls(one, function)?) / ns(one.rounds.max(1));
    let beyond = ns(calls(many, function)?) - per_round * ns(many.rounds);
    Some((beyond / (count(most) - 1.0)).max(0.0))
}

/// Slope of the straight line with the least squares of its errors.
fn slope(points: &[(f64, f64)]) -> f64 {
    let number = count(points.len()).max(1.0);
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (mean_x, mean_y) = (sum_x / number, sum_y / number);
    let across: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let along: f64 = points.iter().map(|(x, _)| (x - mean_x) * (x - mean_x)).sum();
    if along > 0.0 { across / along } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(rounds: u64, calls: u64) -> Counted {
        Counted { rounds, calls: vec![("synchronize_rcu", calls)] }
    }

    #[test]
    fn a_wait_for_every_namespace_grows_by_one() {
        let each = growth(&counted(1, 3), &counted(1, 202), 200, "synchronize_rcu").expect("counted");
        assert!((each - 1.0).abs() < 1e-9 && each >= EACH, "{each}");
    }

    #[test]
    fn waits_of_more_rounds_are_not_waits_of_namespaces() {
        let each = growth(&counted(1, 2), &counted(3, 6), 200, "synchronize_rcu").expect("counted");
        assert!(each < EACH, "{each}");
        assert_eq!(growth(&counted(1, 2), &counted(3, 5), 200, "synchronize_rcu"), Some(0.0));
    }

    #[test]
    fn what_was_not_counted_does_not_grow() {
        assert_eq!(growth(&counted(1, 2), &counted(1, 2), 200, "msleep"), None);
    }

    #[test]
    fn each_round_has_its_slope() {
        let times = [vec![10, 110], vec![19, 29], vec![59, 519], vec![209, 129]];
        let slopes = slopes(&sizes(200), &times);
        assert_eq!(slopes.len(), 2);
        assert!((slopes[0] - 1.0).abs() < 1e-9 && slopes[1] < 0.5, "{slopes:?}");
    }

    #[test]
    fn the_default_sizes_are_those_of_the_literature() {
        assert_eq!(sizes(200), [1, 10, 50, 200]);
        assert_eq!(sizes(40), [1, 2, 10, 40]);
    }

    proptest! {
        #[test]
        fn the_slope_of_points_on_a_line_is_the_lines(a in -1e6_f64..1e6, b in -1e3_f64..1e3) {
            let points = sizes(200).map(|x| (count(x), a + b * count(x)));
            prop_assert!((slope(&points) - b).abs() < 1e-6 * (1.0 + a.abs() + b.abs()));
        }
    }
}
