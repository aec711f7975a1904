//! `report.html` of a run: one file that needs no other, drawn without a script.

mod chart;
mod moved;
mod page;
mod sections;

pub use moved::{Moved, moved};
pub use page::html;

use std::path::PathBuf;

use serde_json::Value;

use crate::adapter::Problem;
use crate::evaluate::{Answers, Report};

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
    pub figures: Option<Report>,
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

/// The most confident wrong answers, at most `count`; `paths` are those of the answers' pictures. Where classes don't
/// exclude each other, an answer is a yes or a no to one class, and the worst one of each picture counts.
pub fn mistakes(answers: &Answers<'_>, paths: &[PathBuf], labels: &[String], count: usize) -> Vec<Mistake> {
    let mistake = |(row, path): (usize, &PathBuf)| {
        let (answer, probability) = worst(answers, row, labels)?;
        Some(Mistake { path: path.clone(), is: names(&answers.known.targets[row], labels), answer, probability })
    };
    let mut mistakes: Vec<_> = paths.iter().enumerate().filter_map(mistake).collect();
    mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    mistakes.truncate(count);
    mistakes
}

fn names(classes: &[usize], labels: &[String]) -> String {
    match classes.iter().map(|&class| &*labels[class]).collect::<Vec<_>>() {
        names if names.is_empty() => "none of them".to_owned(),
        names => names.join(", "),
    }
}

/// A picture's wrong answer and how probable it seemed; none if all is right.
fn worst(answers: &Answers<'_>, row: usize, labels: &[String]) -> Option<(String, f32)> {
    let (targets, probabilities) = (&answers.known.targets[row], &answers.probabilities[row]);
    if answers.known.problem == Problem::SingleLabel {
        let answer = *answers.ranked[row].first()?;
        return (!targets.contains(&answer)).then(|| (labels[answer].clone(), probabilities[answer]));
    }
    let wrong = |class: usize| match (answers.chosen[row].contains(&class), targets.contains(&class)) {
        (true, false) => Some((labels[class].clone(), probabilities[class])),
        (false, true) => Some((format!("no {}", labels[class]), 1.0 - probabilities[class])),
        _ => None,
    };
    (0..labels.len()).filter_map(wrong).max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests;
