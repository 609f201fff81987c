//! Quantiles of what was observed within one test. Pure.

/// The smallest value that at least `per_mille` thousandths of all do not
/// exceed (nearest rank); `None` of nothing.
pub(crate) fn quantile(values: &mut [u64], per_mille: usize) -> Option<u64> {
    values.sort_unstable();
    let rank = (values.len() * per_mille).div_ceil(1000).max(1);
    values.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::quantile;

    #[test]
    fn the_median_and_the_ends_are_values_that_were_seen() {
        let mut values = [40, 10, 30, 20];
        assert_eq!(
            [0, 250, 500, 501, 990, 1000].map(|p| quantile(&mut values, p)),
            [Some(10), Some(10), Some(20), Some(30), Some(40), Some(40)]
        );
        assert_eq!(quantile(&mut [], 500), None);
    }

    proptest! {
        #[test]
        fn at_least_that_share_does_not_exceed_it(
            mut values in proptest::collection::vec(0_u64..50, 1..200), per_mille in 0_usize..=1000,
        ) {
            let found = quantile(&mut values, per_mille).expect("not empty");
            let below = values.iter().filter(|value| **value <= found).count();
            prop_assert!(below * 1000 >= values.len() * per_mille);
        }
    }
}
