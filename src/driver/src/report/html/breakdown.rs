//! Where the time of a round goes, as bars: what runs and what waits, base
//! above head. Pure.

use kregress_wire::Unit;
use maud::{Markup, html};

use super::badge;
use crate::analysis::{BreakdownChange, Share};
use crate::report::compared::{Compared, quantity};
use crate::report::text_safety;
use crate::results::format::Run;

/// Functions that have bars of their own.
const SHOWN: usize = 12;
/// Breakdowns of a page.
const CHARTS: usize = 12;

/// A function with its share on each side, of one or two.
struct Bars {
    name: String,
    shares: Vec<Option<Share>>,
}

impl Bars {
    fn most(&self) -> f64 {
        self.shares.iter().flatten().map(|share| share.ns).filter(|ns| ns.is_finite()).fold(0.0, f64::max)
    }
}

/// Sides by their CSS class and name.
const SIDES: [(&str, &str); 2] = [("of-base", "base"), ("of-head", "head")];

/// All breakdowns of a comparison.
pub(super) fn of_comparison(compared: &Compared<'_>) -> Markup {
    let breakdowns: Vec<&BreakdownChange> = compared.comparison.breakdowns.iter().collect();
    changes(&breakdowns, &badge(&compared.accel()), "")
}

/// Breakdowns of two sides, where there are any; the last says what the sides are.
pub(super) fn changes(breakdowns: &[&BreakdownChange], badge: &Markup, sides: &str) -> Markup {
    html! {
        @if !breakdowns.is_empty() {
            section.long {
                h2 { "Where teardown spends its time " (badge) }
                @if !sides.is_empty() { p.faint.small { (sides) } }
                (key(2))
                @for breakdown in breakdowns.iter().take(CHARTS) { (change(breakdown)) }
                (super::left_out(breakdowns.len(), CHARTS, "breakdown"))
            }
        }
    }
}

fn change(breakdown: &BreakdownChange) -> Markup {
    let time = |ns| quantity(Unit::Nanoseconds, ns);
    let bars = breakdown
        .functions
        .iter()
        .map(|it| Bars { name: text_safety::name(&it.function), shares: vec![it.base, it.head] });
    html! {
        figure {
            figcaption {
                h3 { (text_safety::name(&breakdown.test)) }
                p.faint {
                    "A round took " (time(breakdown.base_round_ns)) " on base and " (time(breakdown.head_round_ns))
                    " on head, with the tracer. Bars are time for each namespace that died."
                }
            }
            (chart(bars.collect()))
        }
    }
}

/// The breakdowns that tests of one kernel of a run found out, each over all
/// boots of the test.
pub(super) fn of_run(run: &Run, kernel: &str, accel: &str) -> Markup {
    let mut tests: Vec<(&str, Vec<&kregress_wire::Breakdown>)> = Vec::new();
    for result in run.results.iter().filter(|result| result.kernel == kernel) {
        let Some(breakdown) = &result.breakdown else { continue };
        match tests.iter_mut().find(|(test, _)| *test == result.test) {
            Some((_, all)) => all.push(breakdown),
            None => tests.push((&result.test, vec![breakdown])),
        }
    }
    html! {
        @if !tests.is_empty() {
            section.long {
                h2 { "Where teardown spends its time " (badge(accel)) }
                (key(1))
                @for (test, all) in tests.iter().take(CHARTS) { (total(test, all)) }
                (super::left_out(tests.len(), CHARTS, "breakdown"))
            }
        }
    }
}

fn total(test: &str, all: &[&kregress_wire::Breakdown]) -> Markup {
    let sum = |of: fn(&kregress_wire::Breakdown) -> u64| all.iter().map(|it| float(of(it))).sum::<f64>();
    let (rounds, namespaces) = (sum(|it| it.rounds).max(1.0), sum(|it| it.namespaces).max(1.0));
    let mut bars: Vec<(String, Share)> = Vec::new();
    for row in all.iter().flat_map(|breakdown| &breakdown.rows) {
        let name = format!("{} ({})", text_safety::name(&row.function), row.phase.word());
        let more = [row.calls, row.total_ns, row.rcu_ns, row.rtnl_ns].map(|it| float(it) / namespaces);
        match bars.iter_mut().find(|(known, _)| *known == name) {
            Some((_, share)) => {
                share.calls += more[0];
                share.ns += more[1];
                share.rcu_ns += more[2];
                share.rtnl_ns += more[3];
            }
            None => {
                let [calls, ns, rcu_ns, rtnl_ns] = more;
                bars.push((name, Share { calls, ns, rcu_ns, rtnl_ns }));
            }
        }
    }
    let bars = bars.into_iter().map(|(name, share)| Bars { name, shares: vec![Some(share)] });
    html! {
        figure {
            figcaption {
                h3 { (text_safety::name(test)) }
                p.faint {
                    "A round took " (quantity(Unit::Nanoseconds, sum(|it| it.total_ns) / rounds))
                    " with the tracer: " (rounds) " rounds, " (namespaces)
                    " namespaces. Bars are time for each namespace that died."
                }
            }
            (chart(bars.collect()))
        }
    }
}

/// Dearest first, a dozen, and the sum of the rest.
fn chart(mut bars: Vec<Bars>) -> Markup {
    bars.sort_by(|a, b| b.most().total_cmp(&a.most()));
    let rest = bars.split_off(bars.len().min(SHOWN));
    if !rest.is_empty() {
        let sides = rest[0].shares.len();
        let shares = (0..sides).map(|side| {
            let none = Share { calls: 0.0, ns: 0.0, rcu_ns: 0.0, rtnl_ns: 0.0 };
            let all = rest.iter().filter_map(|bars| bars.shares[side]);
            Some(all.fold(none, |sum, it| Share {
                calls: sum.calls + it.calls,
                ns: sum.ns + it.ns,
                rcu_ns: sum.rcu_ns + it.rcu_ns,
                rtnl_ns: sum.rtnl_ns + it.rtnl_ns,
            }))
        });
        bars.push(Bars { name: format!("{} more", rest.len()), shares: shares.collect() });
    }
    let most = bars.iter().map(Bars::most).fold(0.0, f64::max);
    html! {
        div.bars { @for bars in &bars { (function(bars, most)) } }
    }
}

fn function(bars: &Bars, most: f64) -> Markup {
    let time = |share: &Option<Share>| {
        share.map_or("not called".to_owned(), |it| quantity(Unit::Nanoseconds, it.ns))
    };
    let times: Vec<String> = bars.shares.iter().map(time).collect();
    let last = bars.shares.last().copied().flatten().or_else(|| bars.shares.first().copied().flatten());
    html! {
        div.function {
            code { (bars.name) }
            div.drawn {
                @for (share, (class, side)) in bars.shares.iter().zip(SIDES) {
                    div.bar.(class) title=(format!("{side}: {}", time(share))) {
                        @if let Some(share) = share {
                            i.work style=(width((share.ns - share.rcu_ns - share.rtnl_ns).max(0.0), most)) {}
                            i.rcu style=(width(share.rcu_ns.min(share.ns), most)) {}
                            i.rtnl style=(width(share.rtnl_ns.min((share.ns - share.rcu_ns).max(0.0)), most)) {}
                        }
                    }
                }
            }
            span.times { (times.join(" → ")) span.faint { (waits(last)) } }
        }
    }
}

/// Of what a function takes, what it waits; nothing where that is little.
fn waits(share: Option<Share>) -> String {
    let Some(share) = share.filter(|share| share.ns > 0.0) else { return String::new() };
    let parts = [("RCU", share.rcu_ns), ("RTNL", share.rtnl_ns)];
    let parts = parts.iter().filter(|(_, ns)| ns / share.ns >= 0.005);
    parts.map(|(name, ns)| format!(", {name}\u{a0}{:.0}\u{a0}%", ns / share.ns * 100.0)).collect()
}

fn width(part: f64, most: f64) -> String {
    let percent = if most > 0.0 { (part / most * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    format!("width:{percent:.2}%")
}

/// What the shades mean; of two sides, in neither's colour.
fn key(sides: usize) -> Markup {
    let any = if sides > 1 { "of-any" } else { SIDES[0].0 };
    html! {
        p {
            @if sides > 1 {
                @for (class, side) in SIDES { span.key.(class) { i.box.work {} (side) } }
            }
            span.key.(any) { i.box.work {} "runs" }
            span.key.(any) { i.box.rcu {} "waits for RCU" }
            span.key.(any) { i.box.rtnl {} "waits for the RTNL" }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people, to three figures")]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testdata;

    #[test]
    fn the_dearest_dozen_has_bars_and_the_rest_is_summed() {
        let data = testdata::regression();
        let html = of_comparison(&data.compared(&[])).into_string();
        assert_eq!(html.matches("class=\"function\"").count(), SHOWN + 1);
        assert!(html.contains("8 more"), "{html}");
        let first = html.find("class=\"function\"").expect("a bar");
        assert!(html[first..].starts_with("class=\"function\"><code>xfrm_net_exit</code>"));
        assert!(html.contains("RCU\u{a0}96\u{a0}%") && html.contains("41.0 µs → 15.5 ms"), "{html}");
        assert!(html.contains("not called"), "gone on head");
    }

    #[test]
    fn parts_of_a_bar_never_exceed_it() {
        // Shares are of the guest: they may say anything.
        let mad = Share { calls: -1.0, ns: 1.0, rcu_ns: 1e300, rtnl_ns: f64::NAN };
        let html = chart(vec![Bars { name: "x".into(), shares: vec![Some(mad), None] }]).into_string();
        assert!(!html.contains("NaN%") && html.contains("width:100.00%"), "{html}");
    }

    #[test]
    fn boots_of_a_test_are_put_together() {
        let run = testdata::run();
        let html = of_run(&run, "bad", "tcg").into_string();
        assert!(html.contains("A round took 850.0 ms with the tracer: 4 rounds, 200 namespaces"), "{html}");
    }
}
