//! Logits to an answer: pure, total on finite logits, the same for equal input.

use crate::adapter::{Adapter, Decision, Problem, Rule};

/// What the client asked to see. It never changes the decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Classes listed at most.
    pub top_k: usize,
    /// Classes less probable are not listed.
    pub threshold: Option<f32>,
}

/// One row's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Most probable first, ties by index.
    pub classes: Vec<Class>,
    /// What the adapter's rule decides.
    pub decided: Decided,
}

/// A class and its calibrated probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its name.
    pub label: String,
    /// Its place in the head.
    pub index: usize,
    /// In [0, 1].
    pub probability: f32,
}

/// The decision on calibrated probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Chosen classes, most probable first. None under `threshold` means that no class applies.
    pub labels: Vec<String>,
    /// The highest probability was below the adapter's limit, so nothing was chosen.
    pub abstained: bool,
}

/// The answer to one row. `logits` `[classes]` are finite (the worker refuses others).
pub fn predict(adapter: &Adapter, logits: &[f32], answer: &Answer) -> Prediction {
    let probabilities = probabilities(adapter.problem, adapter.temperature, logits);
    let ranked = ranked(logits);
    let label = |index: usize| adapter.labels.get(index).cloned().unwrap_or_default();
    let listed = ranked.iter().copied().take(answer.top_k);
    let listed = listed.filter(|&index| answer.threshold.is_none_or(|limit| probabilities[index] >= limit));
    let classes = listed.map(|index| Class { label: label(index), index, probability: probabilities[index] }).collect();
    let (chosen, abstained) = chosen(&adapter.decision, &probabilities, &ranked);
    Prediction { classes, decided: Decided { labels: chosen.into_iter().map(label).collect(), abstained } }
}

/// Calibrated probabilities `[classes]`. In f64 neither a huge logit nor a tiny temperature overflows.
pub fn probabilities(problem: Problem, temperature: f32, logits: &[f32]) -> Vec<f32> {
    let scaled: Vec<f64> = logits.iter().map(|&logit| f64::from(logit) / f64::from(temperature)).collect();
    match problem {
        Problem::SingleLabel => softmax(&scaled),
        Problem::MultiLabel => scaled.iter().map(|&x| sigmoid(x) as f32).collect(),
    }
}

/// The largest exponent is 0, so the sum is at least 1.
fn softmax(scaled: &[f64]) -> Vec<f32> {
    let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scaled.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| (e / sum) as f32).collect()
}

/// The exponent is never positive.
fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// Class indices by falling logit, ties by index. Logits keep an order where probabilities have underflowed to 0.
pub fn ranked(logits: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    // Adding 0 makes -0 and 0 the tie that they are.
    order.sort_by(|&a, &b| (logits[b] + 0.0).total_cmp(&(logits[a] + 0.0)));
    order
}

/// Chosen class indices in rank order, and whether the rule abstained.
pub fn chosen(decision: &Decision, probabilities: &[f32], ranked: &[usize]) -> (Vec<usize>, bool) {
    let highest = ranked.first().map_or(0.0, |&index| probabilities[index]);
    if decision.abstain_below.is_some_and(|limit| highest < limit) {
        return (vec![], true);
    }
    let classes = match decision.rule {
        Rule::Argmax => ranked.iter().copied().take(1).collect(),
        Rule::Threshold => {
            let applies = |&index: &usize| decision.thresholds.get(index).is_some_and(|&t| probabilities[index] >= t);
            ranked.iter().copied().filter(applies).collect()
        }
    };
    (classes, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ARGMAX: Decision = Decision { rule: Rule::Argmax, thresholds: vec![], abstain_below: None };

    fn finite() -> impl Strategy<Value = f32> {
        prop_oneof![
            any::<f32>().prop_filter("finite", |x| x.is_finite()),
            -10.0f32..10.0,
            Just(0.0),
            Just(-0.0),
            Just(f32::MAX),
            Just(f32::MIN),
        ]
    }

    fn temperature() -> impl Strategy<Value = f32> {
        prop_oneof![Just(1.0f32), Just(f32::MIN_POSITIVE), Just(f32::MAX), 0.01f32..100.0]
    }

    proptest! {
        #[test]
        fn softmax_is_a_distribution_for_every_finite_input(
            logits in prop::collection::vec(finite(), 1..40), t in temperature()
        ) {
            let p = probabilities(Problem::SingleLabel, t, &logits);
            prop_assert!(p.iter().all(|p| (0.0..=1.0).contains(p)), "{p:?}");
            let sum: f64 = p.iter().map(|&p| f64::from(p)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }

        #[test]
        fn sigmoid_is_a_probability_for_every_finite_input(
            logits in prop::collection::vec(finite(), 1..40), t in temperature()
        ) {
            let p = probabilities(Problem::MultiLabel, t, &logits);
            prop_assert!(p.iter().all(|p| (0.0..=1.0).contains(p)), "{p:?}");
        }

        #[test]
        fn ranks_fall_in_probability_and_ties_rise_in_index(logits in prop::collection::vec(finite(), 1..40)) {
            let p = probabilities(Problem::SingleLabel, 1.0, &logits);
            let ranked = ranked(&logits);
            for pair in ranked.windows(2) {
                prop_assert!(p[pair[0]] >= p[pair[1]]);
                prop_assert!(logits[pair[0]] > logits[pair[1]] || pair[0] < pair[1]);
            }
        }

        #[test]
        fn shifting_all_logits_changes_no_softmax(logits in prop::collection::vec(-20.0f32..20.0, 1..20)) {
            let shifted: Vec<f32> = logits.iter().map(|x| x + 64.0).collect();
            let (a, b) = (softmax_of(&logits), softmax_of(&shifted));
            prop_assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }

    fn softmax_of(logits: &[f32]) -> Vec<f32> {
        probabilities(Problem::SingleLabel, 1.0, logits)
    }

    #[test]
    fn temperature_divides_before_softmax() {
        let p = probabilities(Problem::SingleLabel, 2.0, &[2.0, 0.0]);
        assert!((p[0] - 0.731_058_6).abs() < 1e-6, "{p:?}");
    }

    #[test]
    fn argmax_takes_the_first_of_equals() {
        let (logits, p) = ([1.0, 3.0, 3.0], [0.1, 0.45, 0.45]);
        assert_eq!(chosen(&ARGMAX, &p, &ranked(&logits)), (vec![1], false));
    }

    #[test]
    fn abstaining_is_not_the_same_as_choosing_nothing() {
        let p = [0.2, 0.4, 0.4];
        let threshold = Decision { rule: Rule::Threshold, thresholds: vec![0.5, 0.4, 0.9], abstain_below: None };
        assert_eq!(chosen(&threshold, &p, &[1, 2, 0]), (vec![1], false));
        let high = Decision { thresholds: vec![0.9; 3], ..threshold.clone() };
        assert_eq!(chosen(&high, &p, &[1, 2, 0]), (vec![], false));
        let unsure = Decision { abstain_below: Some(0.41), ..threshold };
        assert_eq!(chosen(&unsure, &p, &[1, 2, 0]), (vec![], true));
    }
}
