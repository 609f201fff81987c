//! Where the time of teardown went on each side, function by function.

use std::collections::BTreeMap;

use kregress_wire::Breakdown;

use super::comparison::{BreakdownChange, FunctionChange, Share};
use crate::model::Verdict;
use crate::results::format::TestResult;

/// The difference of a test's breakdowns; none where a side has none. Those of
/// several boots are put together.
pub(super) fn change(test: &str, base: &[&TestResult], head: &[&TestResult]) -> Option<BreakdownChange> {
    let (base, head) = (Sum::of(base)?, Sum::of(head)?);
    let mut names: Vec<&str> = base.functions.keys().chain(head.functions.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let change = |name: &&str| FunctionChange {
        function: (*name).to_owned(),
        base: base.functions.get(name).map(|it| it.per(base.namespaces)),
        head: head.functions.get(name).map(|it| it.per(head.namespaces)),
    };
    let mut functions: Vec<FunctionChange> = names.iter().map(change).collect();
    // Stable: equals stay in the order of their names.
    functions.sort_by(|a, b| difference(b).abs().total_cmp(&difference(a).abs()));
    Some(BreakdownChange {
        test: test.to_owned(),
        base_round_ns: base.total_ns / base.rounds,
        head_round_ns: head.total_ns / head.rounds,
        functions,
    })
}

/// Nanoseconds for each namespace more than on base.
fn difference(change: &FunctionChange) -> f64 {
    let ns = |share: Option<Share>| share.map_or(0.0, |share| share.ns);
    ns(change.head) - ns(change.base)
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
    fn of(results: &[&'a TestResult]) -> Option<Self> {
        let passed = results.iter().filter(|result| matches!(result.verdict, Verdict::Pass { .. }));
        let mut sum = Self::default();
        for breakdown in passed.filter_map(|result| result.breakdown.as_ref()) {
            sum.add(breakdown);
        }
        (sum.rounds > 0.0 && sum.namespaces > 0.0).then_some(sum)
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
