//! Medians and ratios, independent of what was measured.

use serde::Serialize;

/// A number measured several times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of `values`; `None` if there are none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Some(Self { median, min, max })
    }
}

/// `reference / value` for each round: 2 is twice as fast as the reference.
pub(crate) fn speed_ratios(reference: &[f64], values: &[f64]) -> Vec<f64> {
    reference.iter().zip(values).map(|(reference, value)| reference / value).collect()
}

/// How much a command differs from itself within a round: the median of |a / b - 1|. `None` if it
/// was not measured.
pub(crate) fn gap(first: &[f64], second: &[f64]) -> Option<f64> {
    let differences: Vec<f64> =
        speed_ratios(first, second).iter().map(|ratio| (ratio - 1.0).abs()).collect();
    Spread::of(&differences).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        let odd = Spread::of(&[3.0, 1.0, 9.0]);
        assert_eq!(odd, Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
        let even = Spread::of(&[4.0, 1.0, 2.0, 9.0]);
        assert_eq!(even, Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_are_within_rounds_and_above_one_when_faster() {
        assert_eq!(speed_ratios(&[2.0, 3.0], &[1.0, 6.0]), [2.0, 0.5]);
    }

    #[test]
    fn the_gap_does_not_cancel_out_between_rounds() {
        assert_eq!(gap(&[1.5, 0.5, 1.0], &[1.0, 1.0, 1.0]), Some(0.5));
        assert_eq!(gap(&[], &[]), None);
    }
}
