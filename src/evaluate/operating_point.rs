use std::str::FromStr;

use serde::Serialize;

use super::{Answers, Share};
use crate::adapter::{Decision, Problem, Rule};

/// What must be reached on the validation split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// That share of what is answered is right.
    Precision(f64),
    /// That share of what is there is found.
    Recall(f64),
}

/// A goal, for one class or for the task: `precision=0.99`, `recall=0.999:scratch`.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatingPoint {
    /// What must be reached.
    pub goal: Goal,
    /// By which class; by all without one.
    pub label: Option<String>,
}

/// A text that is no operating point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no operating point: write precision=SHARE or recall=SHARE, perhaps with :LABEL, the share above 0 and at most 1"
)]
pub struct ParseError(pub String);

/// Why it cannot be fitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OperatingPointError {
    /// No such class.
    #[error("the adapter has no class {0:?}")]
    Label(String),
    /// Every picture has an answer, so recall is a matter of one class.
    #[error("recall is that of a class: name it, as recall=0.999:LABEL")]
    NoLabel,
    /// No picture shows it.
    #[error("no picture to fit on is of class {0:?}")]
    Absent(String),
    /// Not reached at any threshold.
    #[error("precision {goal} is not reached at any threshold for {of}: the highest is {highest:.4}")]
    Unreachable {
        /// What was asked for.
        goal: f64,
        /// A class, or the answers.
        of: String,
        /// What can be reached.
        highest: f64,
    },
}

/// What a threshold does on the pictures that it was fitted on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fitted {
    /// Of which class; of the most probable one without.
    pub label: Option<String>,
    /// The lowest probability that counts.
    pub threshold: f32,
    /// Of what is answered, what is right.
    pub precision: Share,
    /// Of what is there, what is found.
    pub recall: Share,
}

impl FromStr for OperatingPoint {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let (goal, rest) = text.split_once('=')?;
            let (share, label) = rest.split_once(':').map_or((rest, None), |(share, label)| (share, Some(label)));
            let share = share.parse().ok().filter(|&share: &f64| share > 0.0 && share <= 1.0)?;
            let goal = match goal {
                "precision" => Goal::Precision(share),
                "recall" => Goal::Recall(share),
                _ => return None,
            };
            let label = label.map(str::to_owned);
            label.as_ref().is_none_or(|label| !label.is_empty()).then_some(Self { goal, label })
        };
        parse().ok_or_else(|| ParseError(text.to_owned()))
    }
}

impl OperatingPoint {
    /// Fits the decision's thresholds on these answers and changes it accordingly.
    ///
    /// With a label its threshold is set and the rule becomes `threshold`; a class that had none gets one half, which at
    /// most one of exclusive classes exceeds. Without a label, exclusive classes get a common limit below which the
    /// adapter abstains, others a threshold each.
    pub fn fit(
        &self,
        answers: &Answers<'_>,
        labels: &[String],
        decision: &mut Decision,
    ) -> Result<Vec<Fitted>, OperatingPointError> {
        let classes: Vec<usize> = match &self.label {
            Some(label) => vec![position(label, labels)?],
            None if answers.known.problem == Problem::MultiLabel => (0..labels.len()).collect(),
            None => return self.fit_limit(answers, decision).map(|fitted| vec![fitted]),
        };
        let fit = |&class: &usize| self.fit_scores(&answers.of_class(class), Some(&labels[class]));
        let fitted: Vec<_> = classes.iter().map(fit).collect::<Result<_, _>>()?;
        if decision.rule == Rule::Argmax {
            (decision.rule, decision.thresholds) = (Rule::Threshold, vec![0.5; labels.len()]);
        }
        for (&class, fitted) in classes.iter().zip(&fitted) {
            decision.thresholds[class] = fitted.threshold;
        }
        Ok(fitted)
    }

    fn fit_limit(&self, answers: &Answers<'_>, decision: &mut Decision) -> Result<Fitted, OperatingPointError> {
        if matches!(self.goal, Goal::Recall(_)) {
            return Err(OperatingPointError::NoLabel);
        }
        let highest = |(p, ranked): (&Vec<f32>, &Vec<usize>)| ranked.first().map_or(0.0, |&class| p[class]);
        let scores = answers.probabilities.iter().zip(&answers.ranked).map(highest).zip(answers.right());
        let fitted = self.fit_scores(&scores.collect::<Vec<_>>(), None)?;
        decision.abstain_below = Some(fitted.threshold);
        Ok(fitted)
    }

    /// The lowest threshold of the asked precision, the highest one of the asked recall.
    fn fit_scores(&self, scored: &[(f32, bool)], label: Option<&String>) -> Result<Fitted, OperatingPointError> {
        let cuts = cuts(scored, label);
        let reached = |share: &Share, goal: f64| share.value.is_some_and(|value| value >= goal);
        let of = label.map_or("the most probable class".to_owned(), |label| format!("class {label:?}"));
        match self.goal {
            Goal::Recall(goal) => {
                let found = cuts.into_iter().find(|cut| reached(&cut.recall, goal));
                found.ok_or_else(|| OperatingPointError::Absent(label.cloned().unwrap_or_default()))
            }
            Goal::Precision(goal) => {
                let highest = cuts.iter().filter_map(|cut| cut.precision.value).fold(0.0, f64::max);
                let found = cuts.into_iter().rev().find(|cut| reached(&cut.precision, goal));
                found.ok_or(OperatingPointError::Unreachable { goal, of, highest })
            }
        }
    }
}

/// What each possible threshold does, the highest first.
fn cuts(scored: &[(f32, bool)], label: Option<&String>) -> Vec<Fitted> {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all = sorted.iter().filter(|(_, is)| *is).count();
    let (mut found, mut taken) = (0, 0);
    let cut = |tied: &[(f32, bool)]| {
        found += tied.iter().filter(|(_, is)| *is).count();
        taken += tied.len();
        let (precision, recall) = (Share::of(found, taken), Share::of(found, all));
        Fitted { label: label.cloned(), threshold: tied[0].0, precision, recall }
    };
    sorted.chunk_by(|a, b| a.0 == b.0).map(cut).collect()
}

fn position(label: &str, labels: &[String]) -> Result<usize, OperatingPointError> {
    labels.iter().position(|l| l == label).ok_or_else(|| OperatingPointError::Label(label.to_owned()))
}
