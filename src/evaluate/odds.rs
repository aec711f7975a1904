use crate::adapter::Problem;

/// ln(p / (1 - p)) `[classes]` of the calibrated probabilities, from the logits themselves; infinite for the only one of
/// exclusive classes.
pub fn log_odds(problem: Problem, temperature: f32, logits: &[f32]) -> Vec<f64> {
    let scaled: Vec<f64> = logits.iter().map(|&logit| f64::from(logit) / f64::from(temperature)).collect();
    match problem {
        Problem::MultiLabel => scaled,
        Problem::SingleLabel => {
            let before = sums_before(scaled.iter());
            let after = sums_before(scaled.iter().rev());
            let others = before.iter().zip(after.iter().rev()).map(|(&before, &after)| add(before, after));
            scaled.iter().zip(others).map(|(x, others)| x - others).collect()
        }
    }
}

/// -ln p, by the log odds.
pub fn surprise(log_odds: f64) -> f64 {
    (-log_odds).max(0.0) + (-log_odds.abs()).exp().ln_1p()
}

/// The logarithm of the sum of the exponentials before each value. Nothing is subtracted, so nothing cancels.
fn sums_before<'a>(values: impl Iterator<Item = &'a f64>) -> Vec<f64> {
    let next = |sum: &mut f64, value: &f64| {
        let before = *sum;
        *sum = add(before, *value);
        Some(before)
    };
    values.scan(f64::NEG_INFINITY, next).collect()
}

/// ln(e^a + e^b).
fn add(a: f64, b: f64) -> f64 {
    let (low, high) = (a.min(b), a.max(b));
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sure_answers_keep_their_order() {
        let of = |logit: f32| log_odds(Problem::SingleLabel, 1.0, &[0.0, logit, 0.0])[1];
        // p / (1 - p) = e^60 / (1 + 1).
        assert!((of(60.0) - (60.0 - 2.0f64.ln())).abs() < 1e-12, "{}", of(60.0));
        assert!(of(61.0) > of(60.0));
        assert_eq!(log_odds(Problem::SingleLabel, 1.0, &[3.0]), [f64::INFINITY]);
        assert_eq!(log_odds(Problem::MultiLabel, 2.0, &[3.0]), [1.5]);
    }

    #[test]
    fn surprise_is_the_logarithm_of_the_probability() {
        assert!((surprise(3.0f64.ln()) - (4.0f64 / 3.0).ln()).abs() < 1e-12);
        assert_eq!([surprise(-1000.0), surprise(f64::INFINITY)], [1000.0, 0.0]);
    }
}
