//! The plots: points of boots with their medians and the interval of the
//! difference, and time over a number of namespaces. Pure; with `history` the only
//! place that draws with `plotters`.

use kregress_wire::Unit;
use maud::{Markup, html};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::svg::{self, Ink};
use crate::report::families::{Family, Line};
use crate::report::quantity::Scale;

/// Units of a drawing's width. About what a phone has, so that text keeps its
/// size there; larger screens put several side by side.
pub(super) const WIDTH: u32 = 360;
/// Size of text; `plotters` takes a quarter off before it writes it down.
const TEXT: i32 = 14;
/// Height of a row of points.
const ROW: u32 = 40;
/// Room for the numbers under an axis.
pub(super) const AXIS: u32 = 24;
/// Points that are drawn for a row. More than a thousand boots say nothing more.
pub(super) const POINTS: usize = 1000;

/// What is drawn of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Distribution {
    /// What is read aloud.
    pub(super) label: String,
    pub(super) unit: Unit,
    pub(super) rows: Vec<Row>,
    pub(super) difference: Option<Difference>,
}

/// The boots of one side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) ink: Ink,
    pub(super) values: Vec<f64>,
}

/// Where head would be if it were base, and where it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Difference {
    pub(super) base: f64,
    /// Relative to base.
    pub(super) change: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Relative difference that does not count.
    pub(super) floor: f64,
}

/// Why there is no drawing.
#[derive(Debug)]
pub(super) struct Undrawable;

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for Undrawable {
    fn from(_: DrawingAreaErrorKind<E>) -> Self {
        Self
    }
}

impl From<quick_xml::Error> for Undrawable {
    fn from(_: quick_xml::Error) -> Self {
        Self
    }
}

/// The points of each side, one per boot, their median as a line, and the
/// interval of the difference beneath.
pub(super) fn distribution(plot: &Distribution) -> Markup {
    draw_distribution(plot).unwrap_or_else(|Undrawable| cannot())
}

/// Time over number, a point for each boot, and the line of least squares.
pub(super) fn growth(family: &Family, inks: &[Ink], label: &str) -> Markup {
    draw_growth(family, inks, label).unwrap_or_else(|Undrawable| cannot())
}

pub(super) fn cannot() -> Markup {
    html! { p.faint { "There are no values that could be drawn." } }
}

/// How far beyond its points a plot goes for the sake of an interval, in parts of
/// what the points span: an interval of few boots may span everything.
const BEYOND: f64 = 1.0;

impl Distribution {
    /// Room for the points and for base, and for the interval as far as that
    /// leaves the points room.
    fn axis(&self) -> Option<Axis> {
        let points = self.rows.iter().flat_map(|row| row.values.iter().copied());
        let middle = self.difference.iter().flat_map(|it| [it.base, it.base * (1.0 + it.change)]);
        let mut all: Vec<f64> = points.chain(middle).filter(|it| it.is_finite()).collect();
        let low = all.iter().copied().fold(f64::INFINITY, f64::min);
        let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Without a number there is no middle to go out from.
        if let Some(it) = self.difference.as_ref().filter(|_| !all.is_empty()) {
            let more = BEYOND * (high - low).max(2.0 * it.floor * it.base.abs());
            let ends = [it.low, it.high].map(|end| (it.base * (1.0 + end)).clamp(low - more, high + more));
            all.extend(ends.into_iter().filter(|end| end.is_finite()));
        }
        Axis::of(self.unit, &all)
    }

    /// The unit of the numbers under the plot; empty for counts.
    pub(super) fn unit(&self) -> &'static str {
        self.axis().map_or("", |axis| axis.scale.unit())
    }
}

fn draw_distribution(plot: &Distribution) -> Result<Markup, Undrawable> {
    let axis = plot.axis().ok_or(Undrawable)?;
    let count = plot.rows.len() + usize::from(plot.difference.is_some());
    let rows = u32::try_from(count).map_err(|_| Undrawable)?;
    let height = rows * ROW + AXIS + 6;
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(4)
            .margin_right(16)
            .x_label_area_size(AXIS)
            .y_label_area_size(46)
            .build_cartesian_2d(axis.low..axis.high, 0.0..f64::from(rows))?;
        if let Some(it) = &plot.difference {
            let clip = |value: f64| axis.scaled(value).clamp(axis.low, axis.high);
            let (left, right) = (clip(it.base * (1.0 - it.floor)), clip(it.base * (1.0 + it.floor)));
            chart.draw_series(std::iter::once(Rectangle::new(
                [(left, 0.0), (right, f64::from(rows))],
                Ink::Floor.colour().filled(),
            )))?;
        }
        let decimals = axis.decimals();
        let number = |value: &f64| format!("{value:.decimals$}");
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_labels(5)
            .max_light_lines(1)
            .bold_line_style(Ink::Grid.colour())
            .axis_style(Ink::Grid.colour())
            .label_style(text_style())
            .x_label_formatter(&number)
            .draw()?;
        for (at, row) in plot.rows.iter().enumerate() {
            let y = f64::from(rows) - index(at) - 0.5;
            let (x, pixel) = chart.backend_coord(&(axis.low, y));
            write_left(&root, row.name, (x, pixel))?;
            let values: Vec<f64> = row.values.iter().copied().filter(|it| it.is_finite()).collect();
            let points = values.iter().take(POINTS).enumerate().map(|(n, value)| {
                Circle::new((axis.scaled(*value), y + jitter(n)), 3, row.ink.colour().mix(0.6).filled())
            });
            chart.draw_series(points)?;
            if let Some(median) = crate::report::cases::median(&values) {
                let x = axis.scaled(median);
                let style = row.ink.colour().stroke_width(2);
                chart.draw_series(std::iter::once(PathElement::new(
                    vec![(x, y - 0.4), (x, y + 0.4)],
                    style,
                )))?;
            }
        }
        if let Some(it) = &plot.difference {
            let y = 0.5;
            let (x, pixel) = chart.backend_coord(&(axis.low, y));
            write_left(&root, "differ.", (x, pixel))?;
            let at = |change: f64| axis.scaled(it.base * (1.0 + change));
            let inside = |x: f64| (axis.low..=axis.high).contains(&x);
            let style = Ink::Head.colour().stroke_width(2);
            let ends = [at(it.low), at(it.high)];
            if !ends.iter().any(|end| end.is_nan()) {
                let bar = ends.map(|x| (x.clamp(axis.low, axis.high), y)).to_vec();
                chart.draw_series(std::iter::once(PathElement::new(bar, style)))?;
            }
            // An end that is not in sight has no mark: the line runs out of the picture.
            let tick = |x: f64| PathElement::new(vec![(x, y - 0.12), (x, y + 0.12)], style);
            chart.draw_series(ends.into_iter().filter(|x| inside(*x)).map(tick))?;
            let middle = Circle::new((at(it.change), y), 4, Ink::Head.colour().filled());
            chart.draw_series(inside(at(it.change)).then_some(middle))?;
            let base = axis.scaled(it.base);
            let line =
                PathElement::new(vec![(base, 0.0), (base, f64::from(rows))], Ink::Base.colour().mix(0.7));
            chart.draw_series(std::iter::once(line))?;
        }
        root.present()?;
    }
    Ok(svg::finish(&text, &plot.label)?)
}

fn draw_growth(family: &Family, inks: &[Ink], label: &str) -> Result<Markup, Undrawable> {
    let sizes: Vec<f64> = family.sides.iter().flatten().map(|it| it.size).chain([0.0]).collect();
    let across = Axis::of(Unit::One, &sizes).ok_or(Undrawable)?;
    let up = upwards(family).ok_or(Undrawable)?;
    let most = sizes.iter().copied().fold(0.0, f64::max);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, 250)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(10)
            .margin_right(16)
            .x_label_area_size(AXIS)
            .y_label_area_size(46)
            .build_cartesian_2d(0.0_f64.min(across.low)..across.high, 0.0_f64.min(up.low)..up.high)?;
        let (x_decimals, y_decimals) = (across.decimals(), up.decimals());
        chart
            .configure_mesh()
            .x_labels(5)
            .y_labels(5)
            .max_light_lines(1)
            .bold_line_style(Ink::Grid.colour())
            .axis_style(Ink::Grid.colour())
            .label_style(text_style())
            .x_label_formatter(&|value: &f64| format!("{value:.x_decimals$}"))
            .y_label_formatter(&|value: &f64| format!("{value:.y_decimals$}"))
            .draw()?;
        for (side, ink) in family.sides.iter().zip(inks) {
            if let Some(line) = Line::through(side) {
                // A line below the axis is drawn from where it meets it.
                let from =
                    if line.at_zero < 0.0 && line.slope > 0.0 { -line.at_zero / line.slope } else { 0.0 };
                let ends = [from.min(most), most].map(|size| (size, up.scaled(line.at(size))));
                let path = PathElement::new(ends.to_vec(), ink.colour().stroke_width(2));
                chart.draw_series(std::iter::once(path))?;
            }
            // Beside each other, not upon each other: boots of a size differ little.
            let points = side.iter().take(POINTS).enumerate().map(|(n, point)| {
                let x = point.size + jitter(n) * (across.high - across.low) * 0.02;
                Circle::new((x, up.scaled(point.value)), 3, ink.colour().mix(0.6).filled())
            });
            chart.draw_series(points)?;
        }
        root.present()?;
    }
    Ok(svg::finish(&text, label)?)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn write_left(root: &Area<'_>, text: &str, (x, y): (i32, i32)) -> Result<(), Undrawable> {
    let style = text_style().pos(Pos::new(HPos::Right, VPos::Center));
    root.draw(&Text::new(text.to_owned(), (x - 8, y), style))?;
    Ok(())
}

pub(super) fn text_style() -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&Ink::Text.colour())
}

/// The unit of the numbers beside a plot of growth; empty for counts.
pub(super) fn unit_of(family: &Family) -> &'static str {
    upwards(family).map_or("", |axis| axis.scale.unit())
}

fn upwards(family: &Family) -> Option<Axis> {
    let values: Vec<f64> = family.sides.iter().flatten().map(|it| it.value).chain([0.0]).collect();
    Axis::of(family.metric.unit, &values)
}

/// A range of values in a unit that people say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    pub(super) scale: Scale,
    /// In that unit.
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Axis {
    /// Room for all of the finite ones; none where they span more than a number
    /// can tell.
    pub(super) fn of(unit: Unit, values: &[f64]) -> Option<Self> {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let low = finite().fold(f64::INFINITY, f64::min);
        let high = finite().fold(f64::NEG_INFINITY, f64::max);
        let most = low.abs().max(high.abs());
        // Beyond this, steps between grid lines vanish beside their values.
        if most >= 1e100 {
            return None;
        }
        let scale = Scale::of(unit, most);
        let (low, high, most) = (scale.scaled(low), scale.scaled(high), scale.scaled(most));
        // Values that are all alike stand in the middle of something.
        let least = if unit == Unit::One { 1.0 } else { most * 0.02 };
        let least = if least > 0.0 { least } else { 1.0 };
        let span = high - low;
        let pad = if span > most * 1e-3 { span * 0.06 } else { least.max(span) };
        let floor = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
        Some(Self { scale, low: (low - pad).max(floor), high: high + pad })
    }

    pub(super) fn scaled(&self, value: f64) -> f64 {
        self.scale.scaled(value)
    }

    /// Decimals with which neighbouring grid lines differ.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=9")]
    pub(super) fn decimals(&self) -> usize {
        let step = (self.high - self.low) / 5.0;
        (-step.log10().floor()).clamp(0.0, 9.0) as usize
    }
}

/// A place between -0.3 and 0.3 for the nth point, the same in every report:
/// multiples of the golden section spread evenly however many there are.
pub(super) fn jitter(n: usize) -> f64 {
    ((index(n) * 0.618_033_988_75).fract() - 0.5) * 0.6
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows or boots")]
pub(super) fn index(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plot(base: Vec<f64>, head: Vec<f64>) -> Distribution {
        Distribution {
            label: "drain_time".to_owned(),
            unit: Unit::Nanoseconds,
            rows: vec![
                Row { name: "base", ink: Ink::Base, values: base },
                Row { name: "head", ink: Ink::Head, values: head },
            ],
            difference: Some(Difference { base: 1e6, change: 1.0, low: 0.9, high: 1.1, floor: 0.05 }),
        }
    }

    #[test]
    fn each_boot_is_a_point_and_each_side_has_its_median() {
        let svg = distribution(&plot(vec![1e6, 1.1e6, 0.9e6], vec![2e6, 2.1e6])).0;
        assert_eq!(svg.matches("<circle").count(), 5 + 1, "{svg}");
        assert_eq!(svg.matches("f-base").count(), 3);
        assert!(svg.contains(">base<") && svg.contains(">head<"), "{svg}");
        assert!(svg.contains("viewBox") && !svg.contains("http"), "{svg}");
    }

    #[test]
    fn an_interval_of_few_boots_leaves_the_points_their_room_and_names_their_unit() {
        let mut plot = plot(vec![4e6, 4.6e6], vec![6e6, 6.2e6]);
        plot.difference =
            Some(Difference { base: 4.3e6, change: 0.41, low: -1.0, high: 2666.0, floor: 0.05 });
        let axis = plot.axis().expect("an axis");
        assert!(axis.high < 10.0 && plot.unit() == "ms", "{axis:?}");
        assert!(distribution(&plot).0.contains("<circle"));
    }

    #[test]
    fn no_colour_is_fixed() {
        let svg = distribution(&plot(vec![1e6], vec![2e6])).0;
        assert!(!svg.contains("fill=\"#") && !svg.contains("stroke=\"#"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_said() {
        let mut nothing = plot(vec![], vec![f64::NAN]);
        nothing.difference = None;
        assert!(distribution(&nothing).0.contains("no values"));
    }

    #[test]
    fn the_same_report_has_the_same_plots() {
        let one = plot(vec![1e6, 1.1e6], vec![2e6]);
        assert_eq!(distribution(&one).0, distribution(&one).0);
    }

    #[test]
    fn values_that_are_all_alike_have_room_around_them() {
        let axis = Axis::of(Unit::One, &[4.0, 4.0]).expect("an axis");
        assert!(axis.low <= 3.0 && axis.high >= 5.0, "{axis:?}");
        let zero = Axis::of(Unit::Nanoseconds, &[0.0]).expect("an axis");
        assert!(zero.high > zero.low && zero.low == 0.0, "{zero:?}");
    }

    proptest! {
        #[test]
        fn no_value_of_a_guest_makes_a_plot_without_bound(
            base in prop::collection::vec(any::<f64>(), 0..5),
            head in prop::collection::vec(any::<f64>(), 0..5),
            at in any::<f64>(),
        ) {
            let mut plot = plot(base, head);
            plot.difference = Some(Difference { base: at, change: at, low: -at, high: at, floor: 0.05 });
            prop_assert!(distribution(&plot).0.len() < 20_000);
        }

        #[test]
        fn values_that_hardly_differ_are_drawn(value in -1e99..1e99_f64, off in 0.0..1e-12_f64) {
            let axis = Axis::of(Unit::Nanoseconds, &[value, value * (1.0 + off)]).expect("an axis");
            prop_assert!(axis.high - axis.low > axis.high.abs().max(axis.low.abs()) * 1e-4, "{:?}", axis);
        }
    }
}
