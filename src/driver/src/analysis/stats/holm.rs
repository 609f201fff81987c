//! Holm's correction for judging many things at once.

/// Values of p after Holm's step-down correction, in the order given: those at
/// or below a threshold may be rejected together, and with the threshold's
/// probability at most none of them is rejected wrongly.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![1.0; p.len()];
    let mut largest: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max((p[index] * (p.len() - rank) as f64).min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::holm;

    fn same(p: &[f64], expected: &[f64]) {
        for (ours, theirs) in holm(p).iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-12, "{ours} is not {theirs}");
        }
    }

    #[test]
    fn corrected_values_are_those_of_statsmodels() {
        // multipletests(p, method="holm")[1]
        same(&[0.01, 0.04, 0.03, 0.005, 0.2], &[0.04, 0.09, 0.09, 0.025, 0.2]);
        same(&[0.5, 0.6, 0.0001, 0.0001], &[1.0, 1.0, 0.0004, 0.0004]);
    }

    #[test]
    fn one_value_needs_no_correction() {
        same(&[0.02], &[0.02]);
        assert!(holm(&[]).is_empty());
    }
}
