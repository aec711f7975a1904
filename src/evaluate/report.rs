use serde::Serialize;

use super::{Answers, Calibration, Share, auroc, average_precision, mean, ratio};
use crate::adapter::Problem;

/// Every figure. Means over classes are over those for which the figure exists.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Whether classes exclude each other.
    pub problem: Problem,
    /// Pictures.
    pub pictures: usize,
    /// Of the pictures that have a class, those whose most probable class is one of theirs.
    pub top1: Share,
    /// How many classes `top_k` looks at.
    pub k: usize,
    /// Of the pictures that have a class, those of which one of the `k` most probable classes is one of theirs.
    pub top_k: Share,
    /// Pictures whose decided classes are exactly theirs.
    pub decided_right: Share,
    /// As `top1`, of the pictures for which the decision does not abstain.
    pub answered_right: Share,
    /// Pictures for which the decision abstained.
    pub abstained: usize,
    /// Pictures for which it did not, and no class is at its threshold: the right answer where a picture has none.
    pub without_class: usize,
    /// Mean over classes of the recall; where classes don't exclude each other, of the mean of recall and specificity.
    pub balanced_accuracy: Option<f64>,
    /// Mean over classes of F1.
    pub macro_f1: Option<f64>,
    /// Mean over classes.
    pub mean_average_precision: Option<f64>,
    /// Mean over classes, each against the rest.
    pub macro_auroc: Option<f64>,
    /// Probabilities against shares.
    pub calibration: Calibration,
    /// Head order.
    pub classes: Vec<ClassReport>,
    /// Pictures `[class that it is][most probable class]`; none where classes don't exclude each other.
    pub confusion: Option<Vec<Vec<usize>>>,
}

/// Figures of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassReport {
    /// Its name.
    pub label: String,
    /// Pictures of it.
    pub pictures: usize,
    /// Of the pictures decided to be of it, those that are.
    pub precision: Share,
    /// Of its pictures, those decided to be of it.
    pub recall: Share,
    /// Of the other pictures, those decided not to be of it.
    pub specificity: Share,
    /// 2 · found / (decided + there); none when there is neither.
    pub f1: Option<f64>,
    /// Area under the precision-recall curve, as steps; none without a picture.
    pub average_precision: Option<f64>,
    /// Area under the ROC curve against the rest; none when there is no rest or no picture.
    pub auroc: Option<f64>,
}

impl Report {
    /// Of answers of classes with these names, in head order.
    pub fn new(answers: &Answers<'_>, labels: &[String], k: usize) -> Self {
        let pictures = answers.known.targets.len();
        let problem = answers.known.problem;
        let k = k.clamp(1, labels.len().max(1));
        let classes: Vec<_> = labels.iter().enumerate().map(|(i, label)| ClassReport::of(answers, i, label)).collect();
        let without = |i: &usize| answers.chosen[*i].is_empty() && !answers.abstained[*i];
        Self {
            problem,
            pictures,
            top1: answers.top(1),
            k,
            top_k: answers.top(k),
            decided_right: Share::of((0..pictures).filter(|&i| answers.decided_right(i)).count(), pictures),
            answered_right: answered_right(answers),
            abstained: answers.abstained.iter().filter(|&&abstained| abstained).count(),
            without_class: (0..pictures).filter(without).count(),
            balanced_accuracy: mean(classes.iter().filter_map(|class| class.balanced_accuracy(problem))),
            macro_f1: mean(classes.iter().filter(|class| class.pictures > 0).filter_map(|class| class.f1)),
            mean_average_precision: mean(classes.iter().filter_map(|class| class.average_precision)),
            macro_auroc: mean(classes.iter().filter_map(|class| class.auroc)),
            calibration: Calibration::of(answers),
            confusion: (problem == Problem::SingleLabel).then(|| confusion(answers)),
            classes,
        }
    }
}

fn answered_right(answers: &Answers<'_>) -> Share {
    let answered = answers.right().zip(&answers.abstained).zip(answers.known.targets);
    let answered = answered.filter(|((_, abstained), targets)| !**abstained && !targets.is_empty());
    let right: Vec<bool> = answered.map(|((right, _), _)| right).collect();
    Share::of(right.iter().filter(|&&right| right).count(), right.len())
}

impl ClassReport {
    fn of(answers: &Answers<'_>, class: usize, label: &str) -> Self {
        let decided = answers.chosen.iter().map(|chosen| chosen.contains(&class));
        let is = answers.known.targets.iter().map(|targets| targets.contains(&class));
        let (mut found, mut decided_count, mut pictures) = (0, 0, 0);
        for (decided, is) in decided.zip(is) {
            found += usize::from(decided && is);
            decided_count += usize::from(decided);
            pictures += usize::from(is);
        }
        let scored = answers.odds_of_class(class);
        let others = answers.known.targets.len() - pictures;
        Self {
            label: label.to_owned(),
            pictures,
            precision: Share::of(found, decided_count),
            recall: Share::of(found, pictures),
            specificity: Share::of(others + found - decided_count, others),
            f1: ratio(2 * found, decided_count + pictures),
            average_precision: average_precision(&scored),
            auroc: auroc(&scored),
        }
    }
}

impl ClassReport {
    /// None without a picture.
    fn balanced_accuracy(&self, problem: Problem) -> Option<f64> {
        match problem {
            Problem::SingleLabel => self.recall.value,
            Problem::MultiLabel => {
                let recall = self.recall.value?;
                Some(self.specificity.value.map_or(recall, |specificity| f64::midpoint(recall, specificity)))
            }
        }
    }
}

fn confusion(answers: &Answers<'_>) -> Vec<Vec<usize>> {
    let classes = answers.known.classes();
    let mut counts = vec![vec![0; classes]; classes];
    for (targets, ranked) in answers.known.targets.iter().zip(&answers.ranked) {
        if let (Some(&is), Some(&answer)) = (targets.first(), ranked.first()) {
            counts[is][answer] += 1;
        }
    }
    counts
}
