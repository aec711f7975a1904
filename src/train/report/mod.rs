//! `report.html` of a run: one file that needs no other, drawn without a script.

mod chart;
mod moved;
mod page;
mod sections;

pub use moved::{Moved, moved};
pub use page::html;

use std::path::PathBuf;

use serde_json::Value;

/// Everything that the page shows.
pub struct Run<'a> {
    /// The page's title, such as the adapter's file.
    pub title: &'a str,
    /// All that decides what comes out of the run.
    pub settings: &'a Value,
    /// In order.
    pub epochs: Vec<Epoch>,
    /// What epochs are compared by, in words.
    pub measure: &'a str,
    /// Counted from 1, the one whose parameters the adapter has, and why.
    pub chosen: (usize, &'a str),
    /// The chosen adapter on the validation split; none without one.
    pub figures: Option<crate::evaluate::Report>,
    /// The validation pictures that are answered wrongly with the highest probability, the worst first.
    pub mistakes: Vec<Mistake>,
    /// How far each linear layer was moved; none for a head alone.
    pub moved: Vec<Moved>,
}

/// What the curves show of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Its learning rate.
    pub learning_rate: f64,
    /// Mean over its pictures.
    pub train_loss: f64,
    /// On the validation split.
    pub validation: Option<(Loss, Score)>,
}

/// A mean loss.
pub type Loss = f64;
/// By the run's measure, at most 1.
pub type Score = f64;

/// A picture that was answered wrongly.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// Its file.
    pub path: PathBuf,
    /// What it is.
    pub is: String,
    /// What was answered.
    pub answer: String,
    /// How probable that seemed.
    pub probability: f32,
}

/// The most confident wrong answers, at most `count`; `paths` are those of the answers' pictures.
pub fn mistakes(
    answers: &crate::evaluate::Answers<'_>,
    paths: &[PathBuf],
    labels: &[String],
    count: usize,
) -> Vec<Mistake> {
    let name = |class: usize| labels.get(class).cloned().unwrap_or_default();
    let wrong = answers.right().zip(paths).enumerate().filter(|(_, (right, _))| !right);
    let mistake = |(row, (_, path)): (usize, (bool, &PathBuf))| {
        let answer = answers.ranked[row].first().copied()?;
        let is = answers.known.targets[row].iter().map(|&class| name(class)).collect::<Vec<_>>().join(", ");
        Some(Mistake { path: path.clone(), is, answer: name(answer), probability: answers.probabilities[row][answer] })
    };
    let mut mistakes: Vec<_> = wrong.filter_map(mistake).collect();
    mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    mistakes.truncate(count);
    mistakes
}

#[cfg(test)]
mod tests;
