use ndarray::Array2;

use super::Share;
use super::odds::log_odds;
use crate::adapter::{Decision, Problem};
use crate::serving::respond::{chosen, probabilities, ranked};

/// Logits beside what is known about their pictures, checked against each other.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// `[pictures, classes]`, finite.
    pub logits: &'a Array2<f32>,
    /// Each picture's classes by index; exactly one where classes exclude each other.
    pub targets: &'a [Vec<usize>],
    /// Whether they do.
    pub problem: Problem,
}

/// Why there are no figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KnownError {
    /// Nothing to measure.
    #[error("there is no picture to measure on")]
    None,
    /// Rows and pictures.
    #[error("there are {rows} rows of logits for {pictures} pictures")]
    Rows {
        /// Of logits.
        rows: usize,
        /// With targets.
        pictures: usize,
    },
    /// A class that the head does not have, or not exactly one class.
    #[error(
        "picture {picture} (counted from 0) has the classes {found:?}; there are {classes} classes, counted from 0, and each picture needs {needs}"
    )]
    Targets {
        /// By index.
        picture: usize,
        /// The first ones of its classes.
        found: [Option<usize>; 2],
        /// Of the head.
        classes: usize,
        /// How many each picture has.
        needs: &'static str,
    },
    /// NaN or infinite.
    #[error("the logits of picture {0} (counted from 0) are not finite")]
    NotFinite(usize),
}

impl<'a> Known<'a> {
    /// Refuses what has no figures.
    pub fn new(logits: &'a Array2<f32>, targets: &'a [Vec<usize>], problem: Problem) -> Result<Self, KnownError> {
        let (rows, classes) = logits.dim();
        if rows == 0 {
            return Err(KnownError::None);
        }
        if rows != targets.len() {
            return Err(KnownError::Rows { rows, pictures: targets.len() });
        }
        if let Some(row) = logits.rows().into_iter().position(|row| row.iter().any(|logit| !logit.is_finite())) {
            return Err(KnownError::NotFinite(row));
        }
        let single = problem == Problem::SingleLabel;
        let fits = |targets: &Vec<usize>| targets.iter().all(|&t| t < classes) && (!single || targets.len() == 1);
        if let Some(picture) = targets.iter().position(|targets| !fits(targets)) {
            let found = [targets[picture].first().copied(), targets[picture].get(1).copied()];
            let needs = if single { "exactly one" } else { "any number of them" };
            return Err(KnownError::Targets { picture, found, classes, needs });
        }
        Ok(Self { logits, targets, problem })
    }

    /// Classes of the head.
    pub fn classes(&self) -> usize {
        self.logits.ncols()
    }
}

/// What a server would answer.
#[derive(Clone, Debug)]
pub struct Answers<'a> {
    /// To what.
    pub known: Known<'a>,
    /// Calibrated, `[picture][class]`.
    pub probabilities: Vec<Vec<f32>>,
    /// ln(p / (1 - p)) of them in f64, which tells apart what rounds to the probability 1.
    pub log_odds: Vec<Vec<f64>>,
    /// Classes of each picture, most probable first, ties by index.
    pub ranked: Vec<Vec<usize>>,
    /// Classes that the decision chooses for each picture, most probable first.
    pub chosen: Vec<Vec<usize>>,
    /// Whether it abstained, for each picture.
    pub abstained: Vec<bool>,
}

impl<'a> Answers<'a> {
    /// By this temperature and decision.
    pub fn new(known: Known<'a>, temperature: f32, decision: &Decision) -> Self {
        let rows: Vec<Vec<f32>> = known.logits.rows().into_iter().map(|row| row.to_vec()).collect();
        let probabilities: Vec<_> = rows.iter().map(|row| probabilities(known.problem, temperature, row)).collect();
        let log_odds = rows.iter().map(|row| log_odds(known.problem, temperature, row)).collect();
        let ranked: Vec<_> = rows.iter().map(|row| ranked(row)).collect();
        let decide = |(p, ranked): (&Vec<f32>, &Vec<usize>)| chosen(decision, p, ranked);
        let (chosen, abstained) = probabilities.iter().zip(&ranked).map(decide).unzip();
        Self { known, probabilities, log_odds, ranked, chosen, abstained }
    }

    /// A class's probability and truth of every picture.
    pub fn of_class(&self, class: usize) -> Vec<(f32, bool)> {
        let truth = self.known.targets.iter().map(|targets| targets.contains(&class));
        self.probabilities.iter().map(|p| p[class]).zip(truth).collect()
    }

    /// A class's log odds and truth of every picture.
    pub fn odds_of_class(&self, class: usize) -> Vec<(f64, bool)> {
        let truth = self.known.targets.iter().map(|targets| targets.contains(&class));
        self.log_odds.iter().map(|odds| odds[class]).zip(truth).collect()
    }

    /// Of the pictures that have a class, those of which one of the `k` most probable classes is one of theirs.
    pub fn top(&self, k: usize) -> Share {
        let with_class = self.ranked.iter().zip(self.known.targets).filter(|(_, targets)| !targets.is_empty());
        let hits = with_class.clone().filter(|(ranked, targets)| ranked.iter().take(k).any(|c| targets.contains(c)));
        Share::of(hits.count(), with_class.count())
    }

    /// Whether exactly the picture's own classes are chosen.
    pub fn decided_right(&self, picture: usize) -> bool {
        sorted(&self.chosen[picture]) == sorted(&self.known.targets[picture])
    }

    /// Whether each picture's most probable class is one of its own.
    pub fn right(&self) -> impl Iterator<Item = bool> {
        let first = |ranked: &Vec<usize>| ranked.first().copied();
        self.ranked.iter().zip(self.known.targets).map(move |(r, t)| first(r).is_some_and(|class| t.contains(&class)))
    }
}

fn sorted(classes: &[usize]) -> Vec<usize> {
    let mut classes = classes.to_vec();
    classes.sort_unstable();
    classes.dedup();
    classes
}
