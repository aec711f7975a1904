use ndarray::{Array2, ArrayView1};
use serde::{Deserialize, Serialize};

use super::recipe::SelectBy;
use crate::adapter::Problem;
use crate::evaluate::{auroc, log_odds};

/// How good logits are on a split that was not trained on. Means over classes are over those that occur.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Pictures.
    pub n: usize,
    /// The mean loss, label smoothing and class weights included.
    pub loss: f64,
    /// Right answers; for several labels a picture, right decisions at a probability of one half.
    pub accuracy: f64,
    /// Mean over classes of the share that was found; for several labels a picture, of the mean of that and the share of
    /// others that was passed over.
    pub balanced_accuracy: f64,
    /// Mean over classes of F1.
    pub macro_f1: f64,
    /// Mean over classes of the area under the ROC curve, each against the rest.
    pub auroc: f64,
}

impl Scores {
    /// Of logits `[pictures, classes]`.
    pub fn of(logits: &Array2<f32>, targets: &[&[usize]], problem: Problem, loss: f64) -> Self {
        let answer = |row: ArrayView1<'_, f32>| Answer::of(problem, &row.to_vec());
        let answers: Vec<Answer> = logits.rows().into_iter().map(answer).collect();
        let classes: Vec<Counts> = (0..logits.ncols()).map(|class| Counts::of(&answers, targets, class)).collect();
        let wrong: usize = classes.iter().map(|c| c.missed + c.alarms).sum();
        let accuracy = match problem {
            // A wrong answer is a miss for one class and an alarm for another.
            Problem::SingleLabel => 1.0 - ratio(wrong, 2 * targets.len()),
            Problem::MultiLabel => 1.0 - ratio(wrong, logits.len()),
        };
        let there = || classes.iter().filter(|c| c.found + c.missed > 0);
        Self {
            n: targets.len(),
            loss,
            accuracy,
            balanced_accuracy: mean(there().map(|c| c.balanced_accuracy(problem))),
            macro_f1: mean(there().map(|c| ratio(2 * c.found, 2 * c.found + c.missed + c.alarms))),
            auroc: mean(classes.iter().filter_map(|c| c.auroc)),
        }
    }

    /// The one that the best epoch has most of.
    pub fn selected(&self, by: SelectBy) -> f64 {
        match by {
            SelectBy::Accuracy => self.accuracy,
            SelectBy::BalancedAccuracy => self.balanced_accuracy,
            SelectBy::MacroF1 => self.macro_f1,
            SelectBy::Auroc => self.auroc,
        }
    }
}

/// Decisions about one class.
struct Counts {
    found: usize,
    missed: usize,
    alarms: usize,
    passed: usize,
    auroc: Option<f64>,
}

impl Counts {
    fn of(answers: &[Answer], targets: &[&[usize]], class: usize) -> Self {
        let mut counts = Self { found: 0, missed: 0, alarms: 0, passed: 0, auroc: None };
        let mut ranked = Vec::with_capacity(targets.len());
        for (answer, targets) in answers.iter().zip(targets) {
            let is = targets.contains(&class);
            match (is, answer.chosen[class]) {
                (true, true) => counts.found += 1,
                (true, false) => counts.missed += 1,
                (false, true) => counts.alarms += 1,
                (false, false) => counts.passed += 1,
            }
            ranked.push((answer.log_odds[class], is));
        }
        counts.auroc = auroc(&ranked);
        counts
    }

    fn balanced_accuracy(&self, problem: Problem) -> f64 {
        let recall = ratio(self.found, self.found + self.missed);
        let others = self.alarms + self.passed;
        match problem {
            Problem::MultiLabel if others > 0 => f64::midpoint(recall, ratio(self.passed, others)),
            _ => recall,
        }
    }
}

/// What the logits of one picture say about each class.
struct Answer {
    chosen: Vec<bool>,
    log_odds: Vec<f64>,
}

impl Answer {
    fn of(problem: Problem, logits: &[f32]) -> Self {
        let first = first(logits);
        let chosen = |(class, &logit): (usize, &f32)| match problem {
            Problem::SingleLabel => first == Some(class),
            Problem::MultiLabel => logit >= 0.0,
        };
        let chosen = logits.iter().enumerate().map(chosen).collect();
        Self { chosen, log_odds: log_odds(problem, 1.0, logits) }
    }
}

/// The first of the largest.
fn first(logits: &[f32]) -> Option<usize> {
    let best = logits.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(class, _)| class)
}

#[expect(clippy::cast_precision_loss, reason = "pictures are far fewer than 2^52")]
fn ratio(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0u32);
    for value in values {
        (sum, count) = (sum + value, count + 1);
    }
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_small_table() {
        let logits = [[3.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [1.0, 0.9, 0.0]];
        let logits = Array2::from_shape_vec((4, 3), logits.concat()).expect("four rows");
        let scores = Scores::of(&logits, &[&[0], &[0], &[1], &[1]], Problem::SingleLabel, 0.5);
        assert_eq!((scores.n, scores.accuracy, scores.balanced_accuracy), (4, 0.75, 0.75));
        assert!((scores.macro_f1 - (0.8 + 2.0 / 3.0) / 2.0).abs() < 1e-12, "{scores:?}");
        assert_eq!(scores.auroc, 1.0);
    }

    #[test]
    fn ties_count_half() {
        assert_eq!(auroc(&[(0.0, true), (0.0, false)]), Some(0.5));
        assert_eq!(auroc(&[(0.0, true), (1.0, false), (2.0, true), (3.0, true)]), Some(2.0 / 3.0));
        assert_eq!(auroc(&[(0.0, true)]), None);
    }

    #[test]
    fn several_labels_are_several_decisions() {
        let logits = Array2::from_shape_vec((2, 2), vec![1.0, -1.0, 1.0, 1.0]).expect("two rows");
        let scores = Scores::of(&logits, &[&[0], &[]], Problem::MultiLabel, 0.0);
        // The first class is seen in both pictures and is in one; no picture has the second.
        assert_eq!((scores.accuracy, scores.balanced_accuracy), (0.5, 0.5));
    }
}
