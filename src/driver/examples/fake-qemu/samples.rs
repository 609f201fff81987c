//! Samples that look measured, the same ones for the same seed.

use kregress_wire::{Kind, MetricInfo, PlannedTest, Unit};

use crate::script::{SampleRule, Script};

/// Samples of a test where the script does not say otherwise.
const COUNT: usize = 5;

/// What a test reports: every metric of its workload, and those that only the
/// script knows.
pub(crate) fn of(script: &Script, test: &PlannedTest) -> Vec<(String, Vec<f64>)> {
    let mut rng = fastrand::Rng::with_seed(test.seed);
    let workload = kregress_guest::workloads::find(&test.workload);
    let metrics = workload.map_or(&[][..], |workload| workload.info.metrics);
    let rules: Vec<_> = script.samples.iter().filter(|rule| matches(&rule.test, &test.name)).collect();
    let mut all = Vec::new();
    for metric in metrics {
        let rule = rules.iter().find(|rule| rule.metric == metric.name);
        let plausible = plausible(metric);
        all.push((metric.name.to_owned(), draw(rule.map_or(&plausible, |rule| rule), &mut rng)));
    }
    for rule in rules {
        if !all.iter().any(|(name, _)| *name == rule.metric) {
            all.push((rule.metric.clone(), draw(rule, &mut rng)));
        }
    }
    all
}

fn plausible(metric: &MetricInfo) -> SampleRule {
    let median = match (metric.unit, metric.kind) {
        (_, Kind::Ratio) => 0.9,
        (Unit::Nanoseconds, _) => 5e6,
        (Unit::One, _) => 3.0,
        (Unit::Bytes, _) => 65536.0,
        (Unit::PerSecond, _) => 1e4,
        (Unit::BytesPerSecond, _) => 1e9,
        (Unit::Percent, _) => 95.0,
    };
    let spread = if metric.kind == Kind::Count { 0.0 } else { 0.05 };
    SampleRule { test: "*".to_owned(), metric: metric.name.to_owned(), median, spread, count: COUNT }
}

fn draw(rule: &SampleRule, rng: &mut fastrand::Rng) -> Vec<f64> {
    (0..rule.count).map(|_| rule.median * (1.0 + rule.spread * (2.0 * rng.f64() - 1.0))).collect()
}

/// Whether a pattern stands for this name; `*` is any text, everything else,
/// brackets included, is itself.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_brackets_for_themselves() {
        let cases = [
            ("smoke/churn", "smoke/churn", true),
            ("smoke/*", "smoke/churn[n=10]", true),
            ("*[n=10]", "smoke/churn[n=10]", true),
            ("*/churn[*]", "smoke/churn[n=10]", true),
            ("a*b*c", "a1b2c", true),
            ("*", "", true),
            ("smoke/[c]hurn", "smoke/churn", false),
            ("smoke", "smoke/churn", false),
            ("a*aa", "aa", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_metric_of_the_script_is_reported_whatever_the_workload() {
        let rule = |metric: &str, median| SampleRule {
            test: "a/*".into(),
            metric: metric.into(),
            median,
            spread: 0.0,
            count: 2,
        };
        let script = Script {
            release: "6.12".into(),
            boot: crate::script::Boot::Ok,
            features: [].into(),
            tests: vec![],
            factors: vec![],
            samples: vec![rule("x", 1.0), rule("x", 2.0), rule("y", 3.0)],
            farewell: crate::script::Farewell::PowerOff,
            chaos: None,
        };
        let test = |name: &str| PlannedTest {
            id: 1,
            name: name.into(),
            workload: "no/such".into(),
            params: [].into(),
            timeout_ms: 1,
            silence_ms: 1,
            seed: 1,
            exec: None,
        };
        assert_eq!(of(&script, &test("a/b")), [("x".into(), vec![1.0; 2]), ("y".into(), vec![3.0; 2])]);
        assert_eq!(of(&script, &test("b/b")), []);
    }

    #[test]
    fn samples_are_the_same_for_the_same_seed() {
        let rule = SampleRule { test: "*".into(), metric: "x".into(), median: 100.0, spread: 0.5, count: 4 };
        let draw = |seed| draw(&rule, &mut fastrand::Rng::with_seed(seed));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).iter().all(|value| (50.0..=150.0).contains(value)));
    }
}
