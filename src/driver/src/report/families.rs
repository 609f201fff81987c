//! Tests that are the same but for a number: how their time grows with it.
//! Pure.

use kregress_wire::Kind;

use super::cases::Case;
use super::compared::Compared;
use crate::model::Verdict;
use crate::results::format::Metric;

/// Parameters that say how much there is to do.
const SIZES: [&str; 2] = ["namespaces", "size"];

/// The metric that grows with them.
const METRIC: &str = "drain_time";

/// A metric of tests that differ in one number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Family {
    /// Name of the tests without that number.
    pub(crate) name: String,
    /// What the number is called.
    pub(crate) parameter: &'static str,
    pub(crate) metric: Metric,
    /// Base and head, or the only one.
    pub(crate) sides: Vec<Vec<Point>>,
}

/// The value of one boot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// The number that the tests differ in.
    pub(crate) size: f64,
    /// Median of the boot's samples.
    pub(crate) value: f64,
}

/// A straight line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub(crate) at_zero: f64,
    /// What one more costs.
    pub(crate) slope: f64,
}

impl Line {
    /// The line with the least squares, where there are two sizes at least.
    pub(crate) fn through(points: &[Point]) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "as many as boots")]
        let count = points.len() as f64;
        let mean = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (size, value) = (mean(|it| it.size), mean(|it| it.value));
        let together: f64 = points.iter().map(|it| (it.size - size) * (it.value - value)).sum();
        let squares: f64 = points.iter().map(|it| (it.size - size).powi(2)).sum();
        let slope = together / squares;
        let line = Self { at_zero: value - slope * size, slope };
        (line.slope.is_finite() && line.at_zero.is_finite()).then_some(line)
    }

    /// Its value there.
    pub(crate) fn at(self, size: f64) -> f64 {
        self.at_zero + self.slope * size
    }
}

/// Name without the number, the number's name, and the number.
fn split(test: &str) -> Option<(String, &'static str, f64)> {
    let (name, params) = test.strip_suffix(']')?.split_once('[')?;
    let mut found = None;
    let mut rest = Vec::new();
    for pair in params.split(',') {
        let (key, value) = pair.split_once('=')?;
        match (SIZES.iter().find(|size| **size == key), value.parse::<u32>()) {
            (Some(size), Ok(number)) if found.is_none() => found = Some((*size, f64::from(number))),
            _ => rest.push(pair),
        }
    }
    let (parameter, number) = found?;
    let name = if rest.is_empty() { name.to_owned() } else { format!("{name}[{}]", rest.join(",")) };
    Some((name, parameter, number))
}

/// Families of a comparison.
pub(crate) fn of_comparison(compared: &Compared<'_>) -> Vec<Family> {
    let metrics = compared.comparison.metrics.iter().map(|it| {
        let values =
            |boots: &[crate::analysis::BootValue]| boots.iter().map(|boot| boot.median).collect::<Vec<f64>>();
        (it.test.as_str(), &it.metric, vec![values(&it.base), values(&it.head)])
    });
    collect(metrics)
}

/// Families among the tests of one kernel of a run.
pub(crate) fn of_cases(cases: &[&Case<'_>]) -> Vec<Family> {
    let metrics = cases.iter().flat_map(|case| {
        case.test.metrics.iter().map(|metric| {
            let values = case
                .results
                .iter()
                .filter(|result| matches!(result.verdict, Verdict::Pass { .. }))
                .filter_map(|result| super::cases::median(result.samples.get(&metric.name)?));
            (case.test.id.as_str(), metric, vec![values.collect()])
        })
    });
    collect(metrics)
}

fn collect<'a>(metrics: impl Iterator<Item = (&'a str, &'a Metric, Vec<Vec<f64>>)>) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for (test, metric, sides) in metrics {
        let Some((name, parameter, size)) = split(test) else { continue };
        if metric.name != METRIC || metric.kind != Kind::Time {
            continue;
        }
        let same = |it: &&mut Family| it.name == name && it.parameter == parameter;
        let family = match families.iter_mut().find(same) {
            Some(family) => family,
            None => {
                let sides = vec![Vec::new(); sides.len()];
                families.push(Family { name, parameter, metric: metric.clone(), sides });
                match families.last_mut() {
                    Some(family) => family,
                    None => continue,
                }
            }
        };
        for (side, values) in family.sides.iter_mut().zip(sides) {
            side.extend(values.into_iter().filter(|it| it.is_finite()).map(|value| Point { size, value }));
        }
    }
    families.retain(|family| family.sides.iter().any(|side| Line::through(side).is_some()));
    families
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testdata;

    #[test]
    fn the_number_is_taken_out_of_the_name() {
        let split = |text| split(text).map(|(name, parameter, size)| (name, parameter, size as u32));
        assert_eq!(split("a/b[namespaces=50]"), Some(("a/b".into(), "namespaces", 50)));
        assert_eq!(split("a/b[dress=veth,size=2]"), Some(("a/b[dress=veth]".into(), "size", 2)));
        for none in ["a/b", "a/b[dress=veth]", "a/b[namespaces=many]", "a/b[x]", "]", "["] {
            assert_eq!(split(none), None, "{none}");
        }
    }

    #[test]
    fn a_line_goes_through_its_points_and_needs_two_sizes() {
        let points: Vec<Point> =
            [1.0, 10.0, 50.0].map(|size| Point { size, value: 3.0 + 2.0 * size }).to_vec();
        let line = Line::through(&points).expect("a line");
        assert!((line.slope - 2.0).abs() < 1e-9 && (line.at(100.0) - 203.0).abs() < 1e-9);
        assert_eq!(Line::through(&points[..1]), None);
        assert_eq!(Line::through(&[]), None);
        assert_eq!(Line::through(&[points[0], points[0]]), None);
    }

    #[test]
    fn the_drains_of_a_comparison_are_one_family_with_two_slopes() {
        let data = testdata::regression();
        let families = of_comparison(&data.compared(&[]));
        assert_eq!(families.len(), 1);
        assert_eq!(
            (families[0].name.as_str(), families[0].parameter),
            ("netns-teardown/drain", "namespaces")
        );
        let slopes: Vec<f64> =
            families[0].sides.iter().map(|side| Line::through(side).expect("a line").slope).collect();
        assert!((0.9e6..1.1e6).contains(&slopes[0]) && (15e6..17e6).contains(&slopes[1]), "{slopes:?}");
    }
}
