use kregress_wire::{Better, Kind, Unit};

use super::*;
use crate::analysis::{Estimate, FunctionChange, Rules};
use crate::model::Accel;
use crate::results::format::Metric;

fn side(kernel: &str, release: &str) -> Side {
    Side {
        kernel: kernel.to_owned(),
        run: "20261120-231502-k3f9".to_owned(),
        release: Some(release.to_owned()),
        identity: Some("abc".to_owned()),
        accel: Some(Accel::Tcg),
        boots: 6,
    }
}

fn metric(name: &str, base: f64, head: f64, change: Change, weight: Weight) -> MetricChange {
    let boots = |value: f64| {
        let boot = |boot| BootValue { boot, median: value, lowest: value, highest: value, samples: 5 };
        (1..=6).map(boot).collect()
    };
    let ratio = head / base - 1.0;
    MetricChange {
        test: "netns-teardown/slope".to_owned(),
        metric: Metric {
            name: name.to_owned(),
            summary: String::new(),
            unit: Unit::Nanoseconds,
            kind: Kind::Time,
            better: Better::Lower,
        },
        rule: Rule::Noisy,
        weight,
        base: boots(base),
        head: boots(head),
        change,
        estimate: Some(Estimate {
            base,
            head,
            change: ratio,
            low: ratio - 0.02,
            high: ratio + 0.02,
            confidence: 0.95,
        }),
        p: Some(0.0001),
        p_permutation: Some(0.002),
        p_holm: Some(if ratio.abs() > 0.04 { 0.0002 } else { 0.4 }),
        floor: 0.05,
        noise: Some(0.01),
        detectable: Some(0.06),
    }
}

fn comparison() -> Comparison {
    let share = |ns: f64, rcu_ns: f64| Some(Share { calls: 1.0, ns, rcu_ns, rtnl_ns: 0.0 });
    Comparison {
        base: side("good", "6.1.190"),
        head: side("bad\x1b[2J", "6.1.192"),
        rules: Rules {
            looks: vec![6, 12, 24],
            thresholds: vec![0.001, 0.003, 0.006],
            floor: 0.05,
            exact_floor: 0.005,
            gating: 2,
        },
        metrics: vec![
            metric("slope", 1.2e6, 15.5e6, Change::Regressed, Weight::Gates),
            metric("create_time", 1.0e6, 1.01e6, Change::Unchanged, Weight::Gates),
            metric(
                "drain_time",
                1.0e6,
                1.04e6,
                Change::Inconclusive(Undecided::NeedsBoots(8)),
                Weight::Gates,
            ),
            metric("create_p99", 1.0e6, 0.9e6, Change::Improved, Weight::Informs),
        ],
        tests: vec![
            TestChange {
                test: "netns-teardown/slope".to_owned(),
                base: Tries { passed: 6, ..Tries::default() },
                head: Tries { passed: 6, ..Tries::default() },
                class: TestClass::Same,
                message: None,
            },
            TestChange {
                test: "smoke/kill".to_owned(),
                base: Tries { passed: 6, ..Tries::default() },
                head: Tries { failed: 5, errors: 1, ..Tries::default() },
                class: TestClass::NewFailure,
                message: Some("WARNING: at net/core/dev.c:1\x1b[1m".to_owned()),
            },
        ],
        breakdowns: vec![BreakdownChange {
            test: "netns-teardown/profile".to_owned(),
            base_round_ns: 20e6,
            head_round_ns: 900e6,
            functions: vec![
                FunctionChange {
                    function: "xfrm_net_exit".to_owned(),
                    base: share(4_000.0, 0.0),
                    head: share(15e6, 14.9e6),
                    certain_ns: 14.99e6,
                },
                FunctionChange {
                    function: "gone".to_owned(),
                    base: share(3_000.0, 0.0),
                    head: None,
                    certain_ns: -3_000.0,
                },
            ],
        }],
        reservations: vec!["compiler: `gcc 12` on base, `gcc 14` on head".to_owned()],
        not_measured: vec!["No time is that of hardware.".to_owned()],
    }
}

fn text(comparison: &Comparison) -> String {
    let mut out = Vec::new();
    write(comparison, None, Look::PLAIN, &mut out).expect("written");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn the_verdict_comes_first_and_what_was_not_measured_is_said() {
    insta::assert_snapshot!(text(&comparison()), @r"
    REGRESSED: 1 metric regressed, 1 test newly failing, 1 metric without a verdict,
    1 metric unchanged
    base  good, 6.1.190, tcg, 6 boots, run 20261120-231502-k3f9
    head  bad, 6.1.192, tcg, 6 boots, run 20261120-231502-k3f9

      metric       base      head  change (95 %)        chance  boots  verdict
    netns-teardown/slope
      slope        1.20  15.50 ms  x 12.9 (12.9..12.9)  p<.001      6  REGRESSED
      create_time  1.00   1.01 ms  +1.0 % (-1.0..+3.0)  p=.40       6  unchanged
      drain_time   1.00   1.04 ms  +4.0 % (+2.0..+6.0)  p<.001      6  unknown
        about 8 more boots a side would tell
      create_p99   1.00   0.90 ms  -10 % (-12..-8.0)    p<.001      6  (improved)

    NEW FAILURE  smoke/kill
      base: 6 passed; head: 5 failed, 1 with errors
      WARNING: at net/core/dev.c:1

    netns-teardown/profile: a round took 20.0 ms on base, 900.0 ms on head, traced
      for each namespace     base     head      more  of it RCU  RTNL
      xfrm_net_exit       4.00 µs  15.0 ms  +15.0 ms   +14.9 ms
      gone                3.00 µs        -  -3.00 µs
      100 % of what grew is xfrm_net_exit, most of it waiting for RCU grace periods

    reservation: compiler: `gcc 12` on base, `gcc 14` on head
    not measured: No time is that of hardware.
    could be seen: 6.0 % or more
    ");
}

#[test]
fn no_line_is_wider_than_the_screen_and_nothing_raw_is_shown() {
    let text = text(&comparison());
    assert!(text.lines().all(|line| columns::width(line) <= 80), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn what_could_be_seen_is_told_where_it_tells_something() {
    let could_be_seen = |least: &[Option<f64>]| {
        let mut comparison = comparison();
        let gating = comparison.metrics.iter_mut().filter(|metric| metric.weight == Weight::Gates);
        for (metric, least) in gating.zip(least.iter().chain(std::iter::repeat(&None))) {
            metric.detectable = *least;
        }
        let text = text(&comparison);
        text.split_once("could be seen: ")
            .map(|(_, seen)| seen.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(could_be_seen(&[]), None);
    assert_eq!(could_be_seen(&[Some(0.06)]).as_deref(), Some("6.0 % or more"));
    let range = could_be_seen(&[Some(0.03), Some(0.2)]);
    assert_eq!(range.as_deref(), Some("3.0 to 20 % or more, depending on the metric"));
    let blind = could_be_seen(&[Some(1e99), Some(f64::INFINITY)]);
    assert_eq!(blind.as_deref(), Some("only a change beyond x 11.0"));
    let some = could_be_seen(&[Some(0.06), Some(1e99)]);
    assert_eq!(some.as_deref(), Some("6.0 % or more; of 1 metric only a change beyond x 11.0"));
}

#[test]
fn a_comparison_without_numbers_says_so() {
    let mut comparison = comparison();
    comparison.metrics.clear();
    comparison.breakdowns.clear();
    comparison.tests.truncate(1);
    let text = text(&comparison);
    assert!(text.starts_with("UNCHANGED: 1 tests with the same verdict, no number to judge by\n"), "{text}");
}

#[test]
fn shares_are_told_in_hundredths_and_large_ones_as_factors() {
    assert_eq!([0.0421, -0.0004, 0.25, 8.5].map(percent), ["+4.2 %", "+0.0 %", "+25 %", "+850 %"]);
    assert_eq!(percent(11.92), "x 12.9");
}
