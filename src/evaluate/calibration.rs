use serde::Serialize;

use super::odds::surprise;
use super::{Answers, mean, real};
use crate::adapter::Problem;

/// Bins of equal width.
const BINS: usize = 15;

/// How far probabilities are from shares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Expected calibration error (Guo et al. 2017): mean over predictions of |confidence − share right| of their bin,
    /// in 15 bins of equal width.
    pub expected_error: f64,
    /// Mean negative log likelihood, in nats per picture (per picture and class where classes don't exclude each other).
    pub negative_log_likelihood: f64,
    /// Those that are not empty.
    pub bins: Vec<Bin>,
}

/// Predictions of about equal probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Predictions.
    pub count: usize,
    /// Their mean probability.
    pub confidence: f64,
    /// The share that was right.
    pub right: f64,
}

impl Calibration {
    /// Of the most probable class of each picture; where classes don't exclude each other, of every class.
    pub fn of(answers: &Answers<'_>) -> Self {
        let predictions = predictions(answers);
        let mut bins = vec![Vec::new(); BINS];
        for &(p, right) in &predictions {
            bins[bin(p)].push((f64::from(p), right));
        }
        let bins: Vec<Bin> = bins.iter().filter_map(|bin| Bin::of(bin)).collect();
        let gap = |bin: &Bin| real(bin.count) * (bin.confidence - bin.right).abs();
        Self {
            expected_error: bins.iter().map(gap).sum::<f64>() / real(predictions.len()),
            negative_log_likelihood: negative_log_likelihood(answers),
            bins,
        }
    }
}

impl Bin {
    fn of(predictions: &[(f64, bool)]) -> Option<Self> {
        let confidence = mean(predictions.iter().map(|(p, _)| *p))?;
        let right = mean(predictions.iter().map(|(_, right)| f64::from(u8::from(*right))))?;
        Some(Self { count: predictions.len(), confidence, right })
    }
}

fn predictions(answers: &Answers<'_>) -> Vec<(f32, bool)> {
    match answers.known.problem {
        Problem::SingleLabel => {
            let highest = |(p, ranked): (&Vec<f32>, &Vec<usize>)| ranked.first().map_or(0.0, |&class| p[class]);
            answers.probabilities.iter().zip(&answers.ranked).map(highest).zip(answers.right()).collect()
        }
        Problem::MultiLabel => (0..answers.known.classes()).flat_map(|class| answers.of_class(class)).collect(),
    }
}

/// Probability 1 belongs to the last bin.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a probability times the number of bins")]
fn bin(p: f32) -> usize {
    ((f64::from(p) * real(BINS)) as usize).min(BINS - 1)
}

/// By the log odds, so that no probability that rounds to 0 or 1 spoils the mean.
fn negative_log_likelihood(answers: &Answers<'_>) -> f64 {
    let values: Vec<f64> = match answers.known.problem {
        Problem::SingleLabel => {
            let truths = answers.log_odds.iter().zip(answers.known.targets);
            truths.flat_map(|(odds, targets)| targets.iter().map(|&target| surprise(odds[target]))).collect()
        }
        Problem::MultiLabel => {
            let of_class = |(odds, is): (f64, bool)| surprise(if is { odds } else { -odds });
            (0..answers.known.classes()).flat_map(|class| answers.odds_of_class(class)).map(of_class).collect()
        }
    };
    mean(values).unwrap_or(0.0)
}
