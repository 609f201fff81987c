//! What `kregress selfcheck` found, as text.

use std::io::{self, Write};

use super::human::write_wrapped;
use super::look::{FAINT, HEADING, Look, verdict_style};
use super::{columns, quantity, text_safety};
use crate::analysis::selfcheck::FalseAlarms;
use crate::analysis::{Change, Comparison};
use crate::results::format::{Noise, Run};

/// What is shown.
pub struct Shown<'a> {
    /// The kernel against itself.
    pub comparison: &'a Comparison,
    /// Its noise.
    pub noise: &'a [Noise],
    /// Splits of its boots; none where there are too few.
    pub alarms: Option<FalseAlarms>,
    /// Where the noise was kept; none if it was not.
    pub place: Option<&'a str>,
}

/// Writes it.
///
/// # Errors
///
/// Fails when `out` does.
pub fn write(shown: &Shown<'_>, run: &Run, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let Shown { comparison, noise, alarms, place } = shown;
    let differs = comparison
        .metrics
        .iter()
        .filter(|metric| matches!(metric.change, Change::Regressed | Change::Improved))
        .count();
    let text = match differs {
        0 => "no metric differs between boots of one kernel".to_owned(),
        1 => "1 metric is said to differ between boots of one kernel".to_owned(),
        more => format!("{more} metrics are said to differ between boots of one kernel"),
    };
    let style = verdict_style(if differs == 0 { "pass" } else { "fail" });
    writeln!(out, "{}", look.paint(style, columns::fit(&text, look.width)))?;
    match alarms {
        None => writeln!(out, "too few boots to say how often that happens by chance")?,
        Some(it) => {
            let rate = f64::from(it.alarms) / f64::from(it.splits.max(1)) * 100.0;
            let text = format!(
                "false alarms: {} of {} random splits of its boots, {} a side ({rate:.1} %)",
                it.alarms, it.splits, it.boots
            );
            writeln!(out, "{}", columns::fit(&text, look.width))?;
        }
    }
    if !noise.is_empty() {
        writeln!(out)?;
        let head = format!("{:<width$}  {:>7}  {:>9}  boots", "metric", "noise", "floor", width = 36);
        writeln!(out, "{}", look.paint(FAINT, format!("  {head}")))?;
    }
    let mut test = "";
    for it in *noise {
        if it.test != test {
            test = &it.test;
            writeln!(out, "{}", look.paint(HEADING, columns::fit(&text_safety::name(test), look.width)))?;
        }
        let floor = (2.0 * it.relative_sd).max(comparison.rules.floor) * 100.0;
        writeln!(
            out,
            "  {}  {:>5.1} %  {floor:>7.1} %  {:>5}",
            columns::left(&text_safety::name(&it.metric), 36),
            it.relative_sd * 100.0,
            it.boots
        )?;
    }
    writeln!(out)?;
    for sentence in &comparison.not_measured {
        write_wrapped("not measured: ", &text_safety::body(sentence), look, out)?;
    }
    if let Some(place) = place {
        write_wrapped("kept for: ", &text_safety::body(place), look, out)?;
    }
    writeln!(out, "{} boots, in {}", run.boots.len(), quantity::seconds(run.elapsed_ms))?;
    writeln!(out, "results: {}", text_safety::verbatim(run.plan.directory.to_string_lossy().as_bytes()))
}
