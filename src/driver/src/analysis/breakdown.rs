//! Where the time of teardown went on each side, function by function.

use std::collections::BTreeMap;

use kregress_wire::Breakdown;

use super::comparison::{BreakdownChange, FunctionChange, Share};
use crate::model::Verdict;
use crate::results::format::TestResult;

/// The difference of a test's breakdowns; none where a side has none. Shares are those
/// over all boots of a side; what tells the sides apart is told by boots.
pub(super) fn change(test: &str, base: &[&TestResult], head: &[&TestResult]) -> Option<BreakdownChange> {
    breakdown_change(test, &passed(base), &passed(head))
}

/// Breakdowns of tests that passed.
fn passed<'a>(results: &[&'a TestResult]) -> Vec<&'a Breakdown> {
    let passed = results.iter().filter(|result| matches!(result.verdict, Verdict::Pass { .. }));
    passed.filter_map(|result| result.breakdown.as_ref()).collect()
}

/// The difference of breakdowns, one for each boot of a side; none where a side has
/// none.
#[must_use]
pub fn breakdown_change(test: &str, base: &[&Breakdown], head: &[&Breakdown]) -> Option<BreakdownChange> {
    let (base, head) = (Traced::of(base)?, Traced::of(head)?);
    let mut names: Vec<&str> = base.sum.functions.keys().chain(head.sum.functions.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let change = |name: &&str| FunctionChange {
        function: (*name).to_owned(),
        base: base.sum.share(name),
        head: head.sum.share(name),
        certain_ns: certain(base.range(name), head.range(name)),
    };
    let mut functions: Vec<FunctionChange> = names.iter().map(change).collect();
    // Stable: equals stay in the order of their names. Where boots overlap, the
    // larger difference is still the one to look at.
    functions.sort_by(|a, b| {
        let certain = b.certain_ns.abs().total_cmp(&a.certain_ns.abs());
        certain.then_with(|| difference(b).abs().total_cmp(&difference(a).abs()))
    });
    Some(BreakdownChange {
        test: test.to_owned(),
        base_round_ns: base.sum.total_ns / base.sum.rounds,
        head_round_ns: head.sum.total_ns / head.sum.rounds,
        functions,
    })
}

/// Nanoseconds for each namespace more than on base.
fn difference(change: &FunctionChange) -> f64 {
    let ns = |share: Option<Share>| share.map_or(0.0, |share| share.ns);
    ns(change.head) - ns(change.base)
}

/// The gap between the boots of two sides, lowest and highest each. A tracer
/// under TCG makes a function that nobody touched vary by a fifth, which is more
/// than all of a small one that did change.
fn certain(base: (f64, f64), head: (f64, f64)) -> f64 {
    if head.0 > base.1 {
        head.0 - base.1
    } else if head.1 < base.0 {
        head.1 - base.0
    } else {
        0.0
    }
}

/// The breakdowns of a side.
struct Traced<'a> {
    boots: Vec<Sum<'a>>,
    sum: Sum<'a>,
}

impl<'a> Traced<'a> {
    fn of(breakdowns: &[&'a Breakdown]) -> Option<Self> {
        let (mut boots, mut sum) = (Vec::new(), Sum::default());
        for breakdown in breakdowns.iter().copied().filter(|it| it.rounds > 0 && it.namespaces > 0) {
            let mut boot = Sum::default();
            boot.add(breakdown);
            boots.push(boot);
            sum.add(breakdown);
        }
        (!boots.is_empty()).then_some(Self { boots, sum })
    }

    /// Nanoseconds for each namespace in the boot that took least and in that which
    /// took most.
    fn range(&self, function: &str) -> (f64, f64) {
        let of = |boot: &Sum<'_>| boot.share(function).map_or(0.0, |share| share.ns);
        let times = || self.boots.iter().map(of);
        (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max))
    }
}

/// Breakdowns put together.
#[derive(Default)]
struct Sum<'a> {
    rounds: f64,
    namespaces: f64,
    total_ns: f64,
    functions: BTreeMap<&'a str, Share>,
}

impl<'a> Sum<'a> {
    /// What a function costs for a namespace.
    fn share(&self, function: &str) -> Option<Share> {
        self.functions.get(function).map(|share| share.per(self.namespaces))
    }

    fn add(&mut self, breakdown: &'a Breakdown) {
        self.rounds += float(breakdown.rounds);
        self.namespaces += float(breakdown.namespaces);
        self.total_ns += float(breakdown.total_ns);
        for row in &breakdown.rows {
            // The same function in several phases is one.
            let share = self.functions.entry(&row.function).or_insert(Share {
                calls: 0.0,
                ns: 0.0,
                rcu_ns: 0.0,
                rtnl_ns: 0.0,
            });
            share.calls += float(row.calls);
            share.ns += float(row.total_ns);
            share.rcu_ns += float(row.rcu_ns);
            share.rtnl_ns += float(row.rtnl_ns);
        }
    }
}

impl Share {
    fn per(self, namespaces: f64) -> Self {
        Self {
            calls: self.calls / namespaces,
            ns: self.ns / namespaces,
            rcu_ns: self.rcu_ns / namespaces,
            rtnl_ns: self.rtnl_ns / namespaces,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "measured times, good to three figures")]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use kregress_wire::{BreakdownRow, Phase};

    use super::*;
    use crate::model::RunEvent;
    use crate::results::format::Event;
    use crate::results::{testing, to_event};

    fn row(function: &str, phase: Phase, calls: u64, total_ns: u64, rcu_ns: u64) -> BreakdownRow {
        BreakdownRow { phase, function: function.to_owned(), calls, total_ns, rcu_ns, rtnl_ns: 0 }
    }

    fn result(namespaces: u64, total_ns: u64, rows: Vec<BreakdownRow>) -> TestResult {
        let mut result = testing::pass("netns-teardown/profile", "k", 1);
        result.breakdown = Some(Breakdown { rounds: 2, namespaces, total_ns, rows });
        match to_event(&RunEvent::TestFinished(result)) {
            Event::TestFinished(result) => result,
            _ => unreachable!("a result"),
        }
    }

    #[test]
    fn the_function_that_costs_most_more_for_a_namespace_stands_first() {
        let base = result(
            50,
            1_000_000,
            vec![
                row("xfrm_net_exit", Phase::Exit, 50, 50_000, 0),
                row("default_device_exit_batch", Phase::Exit, 2, 900_000, 500_000),
                row("gone", Phase::PreExit, 50, 10_000, 0),
            ],
        );
        let head = result(
            100,
            9_000_000,
            vec![
                row("xfrm_net_exit", Phase::Exit, 50, 7_000_000, 6_900_000),
                row("xfrm_net_exit", Phase::PreExit, 50, 1_000_000, 0),
                row("default_device_exit_batch", Phase::Exit, 2, 900_000, 500_000),
            ],
        );
        let change = change("p", &[&base], &[&head]).expect("a change");
        let names: Vec<&str> = change.functions.iter().map(|it| it.function.as_str()).collect();
        assert_eq!(names, ["xfrm_net_exit", "default_device_exit_batch", "gone"]);
        let xfrm = &change.functions[0];
        assert_eq!(xfrm.base, Some(Share { calls: 1.0, ns: 1000.0, rcu_ns: 0.0, rtnl_ns: 0.0 }));
        assert_eq!(xfrm.head, Some(Share { calls: 1.0, ns: 80_000.0, rcu_ns: 69_000.0, rtnl_ns: 0.0 }));
        assert_eq!(change.functions[2].head, None);
        assert_eq!((change.base_round_ns, change.head_round_ns), (500_000.0, 4_500_000.0));
    }

    #[test]
    fn boots_are_put_together() {
        let one = result(50, 10, vec![row("f", Phase::Exit, 50, 5_000, 0)]);
        let two = result(150, 10, vec![row("f", Phase::Exit, 150, 35_000, 0)]);
        let change = change("p", &[&one, &two], &[&one]).expect("a change");
        assert_eq!(change.functions[0].base.expect("base").ns, 200.0);
    }

    #[test]
    fn what_is_certain_comes_before_what_is_large() {
        let boot = |device: u64, unix: u64| {
            let rows = vec![
                row("default_device_exit_batch", Phase::Exit, 2, device, 0),
                row("unix_net_exit", Phase::Exit, 50, unix, 0),
            ];
            result(50, 10, rows)
        };
        let base = [boot(45_000_000, 450_000), boot(54_000_000, 500_000), boot(50_000_000, 470_000)];
        let head = [boot(70_000_000, 8_900_000), boot(53_000_000, 9_300_000), boot(61_000_000, 9_000_000)];
        let change = change("p", &base.each_ref(), &head.each_ref()).expect("a change");
        let found: Vec<(&str, f64)> =
            change.functions.iter().map(|it| (it.function.as_str(), it.certain_ns)).collect();
        assert_eq!(found, [("unix_net_exit", 168_000.0), ("default_device_exit_batch", 0.0)]);
        let back = super::change("p", &head.each_ref(), &base.each_ref()).expect("a change");
        assert_eq!(back.functions[0].certain_ns, -168_000.0);
    }

    #[test]
    fn a_side_without_namespaces_or_without_a_breakdown_gives_no_difference() {
        let some = result(50, 10, vec![]);
        let none = result(0, 0, vec![]);
        let plain = TestResult { breakdown: None, ..some.clone() };
        let mut failed = some.clone();
        failed.verdict = Verdict::Skip { reason: "no tracer".to_owned() };
        for bad in [none, plain, failed] {
            assert_eq!(change("p", &[&some], &[&bad]), None);
            assert_eq!(change("p", &[&bad], &[&some]), None);
        }
        assert_eq!(change("p", &[], &[]), None);
    }
}
