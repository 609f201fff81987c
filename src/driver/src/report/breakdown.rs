//! The breakdown of a teardown as a table: what a round spent its time on. Pure.

use std::io::{self, Write};

use kregress_wire::{Breakdown, BreakdownRow, Unit};

use super::look::{FAINT, Look};
use super::quantity::Scale;
use super::{columns, text_safety};

/// Rows that are shown; the rest is summed up. A cleanup has a hundred, most of
/// them a few microseconds.
const SHOWN: usize = 12;

/// Writes a table behind `indent` columns.
///
/// # Errors
///
/// Fails when `out` does.
pub(super) fn write(breakdown: &Breakdown, indent: usize, look: Look, out: &mut dyn Write) -> io::Result<()> {
    for (number, line) in lines(breakdown, look.width.saturating_sub(indent)).into_iter().enumerate() {
        let line = if number < 2 { look.paint(FAINT, line) } else { line };
        writeln!(out, "{:indent$}{line}", "")?;
    }
    Ok(())
}

fn lines(breakdown: &Breakdown, width: usize) -> Vec<String> {
    let rounds = float(breakdown.rounds.max(1));
    let time = |ns: u64| {
        let per_round = float(ns) / rounds;
        Scale::of(Unit::Nanoseconds, per_round).quantity(per_round)
    };
    let mut table = vec![["", "per round", "share", "calls", "RCU", "RTNL", "phase"].map(str::to_owned)];
    for row in breakdown.rows.iter().take(SHOWN) {
        table.push([
            text_safety::name(&row.function),
            time(row.total_ns),
            share(row.total_ns, breakdown.total_ns),
            calls(row, rounds),
            of_it(row.rcu_ns, row.total_ns),
            of_it(row.rtnl_ns, row.total_ns),
            row.phase.word().to_owned(),
        ]);
    }
    let rest: u64 = breakdown.rows.iter().skip(SHOWN).map(|row| row.total_ns).sum();
    let more = breakdown.rows.len().saturating_sub(SHOWN);
    if more > 0 {
        let mut row = [const { String::new() }; 7];
        row[0] = format!("{more} more");
        row[1] = time(rest);
        row[2] = share(rest, breakdown.total_ns);
        table.push(row);
    }
    let mut widths = [0; 7];
    for row in &table {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns::width(cell).max(*width);
        }
    }
    // Names give way to numbers.
    let others: usize = widths[1..].iter().map(|width| width + 2).sum();
    widths[0] = widths[0].min(width.saturating_sub(others).max(12));
    let head = format!(
        "a round took {} with the tracer: {} rounds, {} namespaces",
        time(breakdown.total_ns),
        breakdown.rounds,
        breakdown.namespaces
    );
    let rows = table.iter().map(|row| {
        let [name, numbers @ .., phase] = row;
        let mut cells = vec![columns::left(name, widths[0])];
        cells.extend(numbers.iter().zip(&widths[1..]).map(|(cell, width)| columns::right(cell, *width)));
        cells.push(phase.clone());
        columns::fit(cells.join("  ").trim_end(), width)
    });
    std::iter::once(columns::fit(&head, width)).chain(rows).collect()
}

/// Calls per round: whole where they are the same in all.
fn calls(row: &BreakdownRow, rounds: f64) -> String {
    let per_round = float(row.calls) / rounds;
    if per_round.fract() == 0.0 { format!("{per_round:.0}") } else { format!("{per_round:.1}") }
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.0} %", float(part) / float(whole.max(1)) * 100.0)
}

/// Part of a row's own time; nothing where there is none, so that waits stand out.
fn of_it(part: u64, whole: u64) -> String {
    if part == 0 { String::new() } else { share(part, whole) }
}

#[expect(clippy::cast_precision_loss, reason = "for people, to three figures")]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use kregress_wire::Phase;

    use super::*;

    fn row(function: &str, calls: u64, total_ns: u64, rcu_ns: u64, phase: Phase) -> BreakdownRow {
        BreakdownRow { phase, function: function.into(), calls, total_ns, rcu_ns, rtnl_ns: total_ns / 100 }
    }

    fn breakdown(more: usize) -> Breakdown {
        let mut rows = vec![
            row("xfrm_net_exit", 100, 1_604_046_900, 1_545_062_430, Phase::Exit),
            row("default_device_exit_batch", 4, 201_000_000, 60_000_000, Phase::Exit),
            row("a_pre_exit_with_a_name_that_does_not_end_before_the_line_does", 50, 99, 0, Phase::PreExit),
        ];
        rows.extend((0..more).map(|n| row(&format!("small_{n}"), 3, 1_000, 0, Phase::ExitRtnl)));
        Breakdown { rounds: 4, namespaces: 100, total_ns: 2_025_675_300, rows }
    }

    #[test]
    fn the_dearest_operation_stands_first_with_its_waits() {
        assert_snapshot!(lines(&breakdown(0), 76).join("\n"), @r"
        a round took 506.4 ms with the tracer: 4 rounds, 100 namespaces
                                       per round  share  calls   RCU  RTNL  phase
        xfrm_net_exit                   401.0 ms   79 %     25  96 %   1 %  exit
        default_device_exit_batch        50.2 ms   10 %      1  30 %   1 %  exit
        a_pre_exit_with_a_name_that_…    24.8 ns    0 %   12.5              pre-exit
        ");
    }

    #[test]
    fn small_ones_are_summed_up() {
        let lines = lines(&breakdown(30), 70);
        assert_eq!(lines.len(), 2 + SHOWN + 1);
        assert_snapshot!(lines.last().expect("a line"), @"21 more                   5.25 µs    0 %");
    }

    #[test]
    fn no_line_is_wider_than_the_screen() {
        for width in [40, 70, 120] {
            assert!(lines(&breakdown(30), width).iter().all(|line| columns::width(line) <= width));
        }
    }

    #[test]
    fn nothing_traced_makes_no_division_by_zero() {
        let nothing = Breakdown { rounds: 0, namespaces: 0, total_ns: 0, rows: vec![] };
        assert_eq!(lines(&nothing, 70).len(), 2);
    }
}
