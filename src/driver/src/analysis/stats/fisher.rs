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
