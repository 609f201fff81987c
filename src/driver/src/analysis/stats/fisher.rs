//! Fisher's exact test of a two-by-two table: whether something happens more
//! often on one side.

use statrs::function::factorial::ln_binomial;

/// What Fisher's test says of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fisher {
    /// Probability of a share on the second side as large as seen, or larger.
    pub more: f64,
    /// The same of a share as small as seen, or smaller.
    pub less: f64,
    /// Probability of all tables that are no likelier than the one seen.
    pub two_sided: f64,
}

/// Compares `hits` of `tries` on two sides. Sides without tries differ in nothing.
#[must_use]
pub fn fisher(first: (u32, u32), second: (u32, u32)) -> Fisher {
    let ((a, n), (b, m)) = (first, second);
    let (a, b) = (u64::from(a.min(n)), u64::from(b.min(m)));
    let (n, m) = (u64::from(n), u64::from(m));
    let hits = a + b;
    let total = ln_binomial(n + m, hits);
    // The hypergeometric distribution: `on_second` of the hits fall on the second side.
    let probability =
        |on_second: u64| (ln_binomial(m, on_second) + ln_binomial(n, hits - on_second) - total).exp();
    let seen = probability(b);
    let mut result = Fisher { more: 0.0, less: 0.0, two_sided: 0.0 };
    for on_second in hits.saturating_sub(n)..=hits.min(m) {
        let p = probability(on_second);
        if on_second >= b {
            result.more += p;
        }
        if on_second <= b {
            result.less += p;
        }
        // Tables of the same probability may differ in the last digits.
        if p <= seen * (1.0 + 1e-7) {
            result.two_sided += p;
        }
    }
    Fisher {
        more: result.more.clamp(0.0, 1.0),
        less: result.less.clamp(0.0, 1.0),
        two_sided: result.two_sided.clamp(0.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_probabilities_of_scipy() {
        // [stats.fisher_exact([[b, m - b], [a, n - a]], alternative=x).pvalue for x in ("greater", "less", "two-sided")]
        let tables = [
            ((0, 5), (5, 5), [0.003_968_253_968_253_969, 1.0, 0.007_936_507_936_507_938]),
            (
                (1, 20),
                (8, 20),
                [0.009_828_009_828_009_828, 0.999_385_749_385_749_4, 0.019_656_019_656_019_652],
            ),
            ((3, 10), (2, 12), [0.894_736_842_105_263_2, 0.406_015_037_593_985, 0.624_060_150_375_939_9]),
            (
                (2, 30),
                (9, 25),
                [0.008_284_034_980_140_962, 0.999_143_191_435_443_5, 0.015_018_081_469_069_73],
            ),
            ((7, 7), (0, 9), [1.0, 8.741_258_741_258_74e-5, 8.741_258_741_258_74e-5]),
        ];
        for (first, second, expected) in tables {
            let ours = fisher(first, second);
            for (ours, theirs) in [ours.more, ours.less, ours.two_sided].into_iter().zip(expected) {
                assert!((ours / theirs - 1.0).abs() < 1e-9, "{first:?} {second:?}: {ours} is not {theirs}");
            }
        }
    }

    #[test]
    fn sides_without_tries_differ_in_nothing() {
        let nothing = Fisher { more: 1.0, less: 1.0, two_sided: 1.0 };
        assert_eq!(fisher((0, 0), (0, 0)), nothing);
        assert_eq!(fisher((0, 0), (3, 3)), nothing);
    }

    #[test]
    fn more_hits_than_tries_are_all_of_them() {
        assert_eq!(fisher((9, 5), (0, 5)), fisher((5, 5), (0, 5)));
    }
}
