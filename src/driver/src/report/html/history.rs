//! The plot of a bisection: what its boots came to over the commits, and under it
//! how probable each commit is. Drawn for a desk and for a phone, of which the page shows
//! one. Bounded, however many commits there are. Pure.

use std::ops::Range;

use kregress_wire::Unit;
use maud::{Markup, html};
use plotters::prelude::*;

use super::plots::{self, Axis, POINTS, Undrawable};
use super::svg::{self, Ink};
use crate::bisect::bisected::{Bisected, Effect, Question, State};
use crate::report::bisected::course::{self, Standing};
use crate::report::cases::median;

/// Units of the width of the drawing for a desk.
const WIDE: u32 = 960;
/// Height of the values and of the probabilities.
const VALUES: u32 = 210;
const BARS: u32 = 90;
/// Units that the numbers of the axis upwards take, and what is left free beside.
const LABELS: u32 = 46;
const MARGIN: u32 = 16;
/// Narrowest bar, in units: probabilities of commits that share one are added.
const BAR: u32 = 2;
/// Commits on each side of the most probable one that are drawn a second time, and
/// from how many on that is of use.
const NEARBY: usize = 20;
const MANY: usize = 80;
/// Probability below which a bar would not be seen.
const VISIBLE: f64 = 0.004;

/// Good, as number 0, and all commits.
pub(super) fn whole(bisected: &Bisected) -> Range<usize> {
    0..bisected.commits.len() + 1
}

/// The surroundings of the most probable commit, where the whole is too much to see them.
pub(super) fn nearby(bisected: &Bisected) -> Option<Range<usize>> {
    let whole = whole(bisected);
    let middle = course::focus(bisected)? + 1;
    (whole.len() > MANY)
        .then(|| middle.saturating_sub(NEARBY).max(whole.start)..(middle + NEARBY + 1).min(whole.end))
}

/// The unit of the values; empty for counts.
pub(super) fn unit(bisected: &Bisected) -> &'static str {
    axis(bisected).map_or("", |axis| axis.scale.unit())
}

/// The drawing in both widths, with its caption.
pub(super) fn figure(bisected: &Bisected, range: Range<usize>, what: &str, unit: &str) -> Markup {
    let label = format!("{what} over commits {} to {}", range.start, range.end.saturating_sub(1));
    let drawn = |width| draw(bisected, &range, width, &label).unwrap_or_else(|Undrawable| plots::cannot());
    html! {
        figure.history {
            figcaption { p.faint { (what) @if !unit.is_empty() { ", " (unit) } " and probability" } }
            div.wide { (drawn(WIDE)) }
            div.narrow { (drawn(plots::WIDTH)) }
        }
    }
}

/// A commit that was booted.
struct Booted {
    number: usize,
    values: Vec<f64>,
    standing: Standing,
}

/// Values on the axis: of tests, in hundredths.
fn upwards(question: &Question) -> (Unit, f64) {
    match question {
        Question::Metric { metric, .. } => (metric.unit, 1.0),
        Question::Test { .. } | Question::Finding { .. } => (Unit::Percent, 100.0),
    }
}

fn levels(bisected: &Bisected) -> Option<[f64; 2]> {
    match bisected.endpoints.as_ref()? {
        Effect::Level { old, new, .. } => Some([*old, *new]),
        Effect::Rate { .. } => None,
    }
}

fn booted(bisected: &Bisected) -> Vec<Booted> {
    let factor = upwards(&bisected.question).1;
    let scaled = |values: &[f64]| -> Vec<f64> {
        let values: Vec<f64> = values.iter().map(|it| it * factor).filter(|it| it.is_finite()).collect();
        match bisected.question {
            Question::Metric { .. } => values,
            // Boots that fail or pass are one point: their share.
            _ if values.is_empty() => values,
            _ => vec![values.iter().sum::<f64>() / plots::index(values.len())],
        }
    };
    let good = Booted { number: 0, values: scaled(&bisected.good_values), standing: Standing::Without };
    let last = bisected.commits.len();
    let rest =
        bisected.commits.iter().enumerate().filter(|(_, row)| !row.values.is_empty()).map(|(at, row)| {
            // Bad is what it is, whether there was a search or not.
            let standing =
                if at + 1 == last { Standing::With } else { course::standing(&bisected.commits, at) };
            Booted { number: at + 1, values: scaled(&row.values), standing }
        });
    std::iter::once(good).chain(rest).collect()
}

fn axis(bisected: &Bisected) -> Option<Axis> {
    let mut all: Vec<f64> = booted(bisected).into_iter().flat_map(|it| it.values).collect();
    all.extend(levels(bisected).into_iter().flatten());
    Axis::of(upwards(&bisected.question).0, &all)
}

fn ink(standing: Standing) -> Ink {
    match standing {
        Standing::Without => Ink::Base,
        Standing::With => Ink::Head,
        Standing::Open => Ink::Text,
    }
}

fn draw(bisected: &Bisected, range: &Range<usize>, width: u32, label: &str) -> Result<Markup, Undrawable> {
    let up = axis(bisected).ok_or(Undrawable)?;
    let booted = booted(bisected);
    let (left, right) = (plots::index(range.start) - 0.5, plots::index(range.end) - 0.5);
    let per_unit = (right - left) / f64::from(width - LABELS - MARGIN);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (width, VALUES + BARS)).into_drawing_area();
        let (above, below) = root.split_vertically(VALUES);
        let mut chart = ChartBuilder::on(&above)
            .margin_top(10)
            .margin_bottom(8)
            .margin_right(MARGIN)
            .y_label_area_size(LABELS)
            .build_cartesian_2d(left..right, up.low..up.high)?;
        let decimals = up.decimals();
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .y_labels(5)
            .max_light_lines(1)
            .bold_line_style(Ink::Grid.colour())
            .axis_style(Ink::Grid.colour())
            .label_style(plots::text_style())
            .y_label_formatter(&|value: &f64| format!("{value:.decimals$}"))
            .draw()?;
        for (level, ink) in levels(bisected).into_iter().flatten().zip([Ink::Base, Ink::Head]) {
            let y = up.scaled(level);
            let line = PathElement::new(vec![(left, y), (right, y)], ink.colour().mix(0.5));
            chart.draw_series(y.is_finite().then_some(line))?;
        }
        let set_aside = set_aside(bisected, range, per_unit);
        let cross =
            |x| Cross::new((x, up.low + (up.high - up.low) * 0.03), 3, Ink::Text.colour().stroke_width(2));
        chart.draw_series(set_aside.into_iter().map(cross))?;
        // Beside each other where there is room.
        let spread = if per_unit < 0.15 { 0.5 } else { 0.0 };
        let tick = (per_unit * 5.0).max(0.38);
        for commit in booted.iter().filter(|it| range.contains(&it.number)) {
            let x = plots::index(commit.number);
            let colour = ink(commit.standing).colour();
            let spread = if commit.values.len() > 1 { spread } else { 0.0 };
            let points = commit.values.iter().take(POINTS).enumerate().map(|(n, value)| {
                Circle::new((x + plots::jitter(n) * spread, up.scaled(*value)), 3, colour.mix(0.6).filled())
            });
            chart.draw_series(points)?;
            let line = median(&commit.values).map(|middle| {
                let ends = [x - tick, x + tick].map(|x| (x.clamp(left, right), up.scaled(middle)));
                PathElement::new(ends.to_vec(), colour.stroke_width(2))
            });
            chart.draw_series(line)?;
        }
        let mut chart = ChartBuilder::on(&below)
            .margin_top(4)
            .margin_right(MARGIN)
            .x_label_area_size(plots::AXIS)
            .y_label_area_size(LABELS)
            .build_cartesian_2d(left..right, 0.0..1.0)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(6)
            .y_labels(3)
            .max_light_lines(1)
            .bold_line_style(Ink::Grid.colour())
            .axis_style(Ink::Grid.colour())
            .label_style(plots::text_style())
            .x_label_formatter(&number)
            .y_label_formatter(&|share: &f64| format!("{:.0} %", share * 100.0))
            .draw()?;
        let bars = bars(bisected, range, per_unit).into_iter();
        chart.draw_series(bars.map(|(from, to, probability)| {
            Rectangle::new([(from, 0.0), (to, probability)], Ink::Head.colour().filled())
        }))?;
        root.present()?;
    }
    Ok(svg::finish(&text, label)?)
}

/// The number of a commit; nothing between two.
fn number(place: &f64) -> String {
    if (place - place.round()).abs() < 1e-6 { format!("{place:.0}") } else { String::new() }
}

/// Places of the commits that could not be measured, no closer than they can be told apart.
fn set_aside(bisected: &Bisected, range: &Range<usize>, per_unit: f64) -> Vec<f64> {
    let mut places: Vec<f64> = Vec::new();
    for number in range.clone().filter(|number| *number > 0) {
        let row = bisected.commits.get(number - 1);
        let aside = row.is_some_and(|row| matches!(row.state, State::SetAside { .. }));
        let place = plots::index(number);
        if aside && places.last().is_none_or(|last| place - last >= per_unit * 6.0) {
            places.push(place);
        }
    }
    places
}

/// Probabilities from place to place; commits that share a bar are added.
fn bars(bisected: &Bisected, range: &Range<usize>, per_unit: f64) -> Vec<(f64, f64, f64)> {
    let least = f64::from(BAR) * per_unit;
    let mut bars: Vec<(f64, f64, f64)> = Vec::new();
    let probabilities = course::probabilities(bisected);
    for number in range.clone().filter(|number| *number > 0) {
        let Some(probability) = probabilities.get(number - 1) else { continue };
        let (from, to) = (plots::index(number) - 0.4, plots::index(number) + 0.4);
        match bars.last_mut() {
            Some(bar) if to - bar.0 <= least => {
                bar.1 = to;
                bar.2 += probability;
            }
            _ => bars.push((from, to.max(from + least), *probability)),
        }
    }
    bars.retain(|(_, _, probability)| *probability >= VISIBLE);
    bars.iter_mut().for_each(|bar| bar.2 = bar.2.min(1.0));
    bars
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::bisected::testdata;

    fn svg(bisected: &Bisected, range: Range<usize>) -> String {
        draw(bisected, &range, WIDE, "a plot").expect("a drawing").0
    }

    #[test]
    fn each_boot_is_a_point_and_each_probable_commit_a_bar() {
        let it = testdata::confirmed();
        let boots: usize = it.commits.iter().map(|row| row.values.len()).sum();
        let svg = svg(&it, whole(&it));
        assert_eq!(svg.matches("<circle").count(), boots + it.good_values.len(), "{svg}");
        assert_eq!(bars(&it, &whole(&it), 0.01).len(), 1);
        assert!(!svg.contains("fill=\"#") && !svg.contains("stroke=\"#"), "{svg}");
    }

    #[test]
    fn points_have_the_colour_of_their_side() {
        let it = testdata::confirmed();
        let svg = svg(&it, whole(&it));
        let circles = |ink: &str| {
            svg.split("<circle")
                .skip(1)
                .filter(|it| it.split('>').next().is_some_and(|it| it.contains(ink)))
                .count()
        };
        assert_eq!((circles("f-base"), circles("f-head")), (6 + 4 * 3, 4 * 3));
    }

    #[test]
    fn of_two_searches_each_has_a_bar_at_its_culprit() {
        let it = testdata::two();
        let bars = bars(&it, &whole(&it), 0.01);
        let places: Vec<f64> = bars.iter().filter(|bar| bar.2 > 0.9).map(|bar| bar.0 + 0.4).collect();
        assert_eq!(places, [18.0, 31.0], "{bars:?}");
    }

    #[test]
    fn bars_that_share_a_place_lose_nothing() {
        let it = testdata::long(10_000);
        let whole = whole(&it);
        let bars = bars(&it, &whole, plots::index(whole.len()) / 300.0);
        assert!(bars.len() <= 150);
        let all: f64 = it.commits.iter().map(|row| row.probability).sum();
        let drawn: f64 = bars.iter().map(|bar| bar.2).sum();
        assert!((all - drawn).abs() < 0.02, "{all} {drawn}");
    }

    #[test]
    fn a_long_history_is_drawn_a_second_time_from_near_by() {
        assert_eq!(nearby(&testdata::confirmed()), None);
        let it = testdata::long(10_000);
        assert_eq!(nearby(&it), Some(6981..7022));
        assert!(svg(&it, whole(&it)).len() < 40_000);
    }

    #[test]
    fn of_a_test_the_share_of_failures_is_drawn() {
        let it = testdata::pass_fail();
        assert_eq!(unit(&it), "%");
        let measured = it.commits.iter().filter(|row| !row.values.is_empty()).count();
        assert_eq!(svg(&it, whole(&it)).matches("<circle").count(), measured + 1);
    }

    #[test]
    fn nothing_measured_is_said() {
        let mut it = testdata::unfinished();
        it.endpoints = None;
        it.good_values.clear();
        it.commits.iter_mut().for_each(|row| row.values.clear());
        assert!(figure(&it, whole(&it), "x", "").0.contains("no values"));
    }

    proptest! {
        #[test]
        fn no_value_or_probability_makes_a_plot_without_bound(
            values in prop::collection::vec(any::<f64>(), 0..6),
            probabilities in prop::collection::vec(any::<f64>(), 1..6),
        ) {
            let mut it = testdata::confirmed();
            it.commits[3].values = values;
            for (row, probability) in it.commits.iter_mut().zip(probabilities) {
                row.probability = probability;
            }
            prop_assert!(figure(&it, whole(&it), "x", "").0.len() < 60_000);
        }
    }
}
