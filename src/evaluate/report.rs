use serde::Serialize;

use super::{Answers, Calibration, Share, auroc, average_precision, mean, ratio};
use crate::adapter::Problem;

/// Every figure. Means over classes are over those for which the figure exists.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Pictures.
    pub pictures: usize,
    /// Pictures whose most probable class is one of theirs.
    pub top1: Share,
    /// How many classes `top_k` looks at.
    pub k: usize,
    /// Pictures of which one of the `k` most probable classes is one of theirs.
    pub top_k: Share,
    /// Pictures whose decided classes are exactly theirs.
    pub decided_right: Share,
    /// Of the pictures for which the decision does not abstain, those whose most probable class is one of theirs.
    pub answered_right: Share,
    /// Pictures for which the decision abstained.
    pub abstained: usize,
    /// Mean over classes of the recall.
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
        let k = k.clamp(1, labels.len().max(1));
        let classes: Vec<_> = labels.iter().enumerate().map(|(i, label)| ClassReport::of(answers, i, label)).collect();
        let count = |right: &dyn Fn(usize) -> bool| Share::of((0..pictures).filter(|&i| right(i)).count(), pictures);
        let abstained = answers.abstained.iter().filter(|&&abstained| abstained).count();
        let hit = |i: usize, k: usize| answers.ranked[i].iter().take(k).any(|c| answers.known.targets[i].contains(c));
        Self {
            pictures,
            top1: count(&|i| hit(i, 1)),
            k,
            top_k: count(&|i| hit(i, k)),
            decided_right: count(&|i| sorted(&answers.chosen[i]) == sorted(&answers.known.targets[i])),
            answered_right: Share::of(
                (0..pictures).filter(|&i| !answers.abstained[i] && hit(i, 1)).count(),
                pictures - abstained,
            ),
            abstained,
            balanced_accuracy: mean(classes.iter().filter_map(|class| class.recall.value)),
            macro_f1: mean(classes.iter().filter(|class| class.pictures > 0).filter_map(|class| class.f1)),
            mean_average_precision: mean(classes.iter().filter_map(|class| class.average_precision)),
            macro_auroc: mean(classes.iter().filter_map(|class| class.auroc)),
            calibration: Calibration::of(answers),
            confusion: (answers.known.problem == Problem::SingleLabel).then(|| confusion(answers)),
            classes,
        }
    }
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
        Self {
            label: label.to_owned(),
            pictures,
            precision: Share::of(found, decided_count),
            recall: Share::of(found, pictures),
            f1: ratio(2 * found, decided_count + pictures),
            average_precision: average_precision(&scored),
            auroc: auroc(&scored),
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

fn sorted(classes: &[usize]) -> Vec<usize> {
    let mut classes = classes.to_vec();
    classes.sort_unstable();
    classes.dedup();
    classes
}
