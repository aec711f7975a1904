use std::str::FromStr;

use serde::Serialize;

use super::{Answers, Known, Share};
use crate::adapter::{Decision, Problem, Rule};
use crate::word::quoted;

/// What must be reached on the validation split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// That share of what is answered is right.
    Precision(f64),
    /// That share of what is there is found.
    Recall(f64),
}

impl Goal {
    /// What must be reached.
    pub fn share(self) -> f64 {
        match self {
            Self::Precision(share) | Self::Recall(share) => share,
        }
    }
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
    "`{0}` is no operating point: write precision=SHARE, perhaps with :LABEL, or recall=SHARE:LABEL, the share above 0 and at most 1, as 0.9 for 90 %"
)]
pub struct ParseError(pub String);

/// Why it cannot be fitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OperatingPointError {
    /// No such class.
    #[error("the adapter has no class {label:?}; it has {}", quoted(there))]
    Label {
        /// What was asked for.
        label: String,
        /// The classes that there are.
        there: Vec<String>,
    },
    /// Every picture has an answer, so recall is a matter of one class.
    #[error("recall is that of a class: name it, as recall=0.999:LABEL")]
    NoLabel,
    /// No picture shows it.
    #[error("no picture to fit on is of class {0:?}")]
    Absent(String),
    /// Two goals for one threshold.
    #[error("two operating points are of {0}, which has one threshold: leave one out")]
    Twice(String),
    /// Where the adapter abstains it finds nothing.
    #[error(
        "recall {goal} of class {label:?} is not reached at any threshold: the highest is {highest:.4}, for the adapter \
         abstains where its most probable class is below {limit:.4}; ask for less precision in the same call, or begin with an \
         adapter that does not abstain"
    )]
    Abstains {
        /// What was asked for.
        goal: f64,
        /// The class.
        label: String,
        /// What can be reached.
        highest: f64,
        /// Below which it abstains.
        limit: f32,
    },
    /// Not reached at any threshold.
    #[error(
        "precision {goal} is not reached at any threshold for {of}: the highest is {highest:.4}; ask for less, or name other classes one by one"
    )]
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
    /// What was to be reached.
    pub goal: Goal,
    /// Of which class; of the most probable one without.
    pub label: Option<String>,
    /// The lowest probability that counts.
    pub threshold: f32,
    /// Of what is answered, what is right.
    pub precision: Share,
    /// Of what is there, what is found.
    pub recall: Share,
}

/// Fits points on answers to known pictures and changes the decision accordingly. Those of no class come first: they may
/// make the adapter abstain, which the thresholds of classes must allow for. So what is said of each point is what the
/// whole decision does.
pub fn fit_all(
    points: &[OperatingPoint],
    known: Known<'_>,
    temperature: f32,
    labels: &[String],
    decision: &mut Decision,
) -> Result<Vec<Fitted>, OperatingPointError> {
    let mut points: Vec<&OperatingPoint> = points.iter().collect();
    points.sort_by_key(|point| &point.label);
    if let Some(twice) = points.windows(2).find(|pair| pair[0].label == pair[1].label) {
        return Err(OperatingPointError::Twice(of(twice[0].label.as_ref())));
    }
    let mut all: Vec<Fitted> = Vec::new();
    for point in points {
        let fitted = point.fit(&Answers::new(known, temperature, decision), labels, decision)?;
        // A class's own point takes the place of the one that all classes have.
        all.retain(|former| fitted.iter().all(|fitted| fitted.label != former.label));
        all.extend(fitted);
    }
    Ok(all)
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
    fn fit(
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
        let fit = |&class: &usize| self.fit_class(answers, class, &labels[class], decision.abstain_below);
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
        let scores: Vec<_> =
            answers.probabilities.iter().zip(&answers.ranked).map(highest).zip(answers.right()).collect();
        let right = scores.iter().filter(|(_, is)| *is).count();
        let fitted = self.precise(cuts(&scores, right, self.goal, None), None)?;
        decision.abstain_below = Some(fitted.threshold);
        Ok(fitted)
    }

    fn fit_class(
        &self,
        answers: &Answers<'_>,
        class: usize,
        label: &String,
        limit: Option<f32>,
    ) -> Result<Fitted, OperatingPointError> {
        let scores = answers.of_class(class);
        let there = scores.iter().filter(|(_, is)| *is).count();
        let answered = scores.into_iter().zip(&answers.abstained).filter(|(_, abstained)| !**abstained);
        let cuts = cuts(&answered.map(|(score, _)| score).collect::<Vec<_>>(), there, self.goal, Some(label));
        let Goal::Recall(goal) = self.goal else { return self.precise(cuts, Some(label)) };
        let highest = cuts.last().and_then(|cut| cut.recall.value).unwrap_or(0.0);
        let found = cuts.into_iter().find(|cut| reaches(&cut.recall, goal));
        found.ok_or_else(|| match limit {
            Some(limit) if there > 0 => OperatingPointError::Abstains { goal, label: label.clone(), highest, limit },
            _ => OperatingPointError::Absent(label.clone()),
        })
    }

    /// The lowest threshold of the asked precision.
    fn precise(&self, cuts: Vec<Fitted>, label: Option<&String>) -> Result<Fitted, OperatingPointError> {
        let goal = self.goal.share();
        let highest = cuts.iter().filter_map(|cut| cut.precision.value).fold(0.0, f64::max);
        let found = cuts.into_iter().rev().find(|cut| reaches(&cut.precision, goal));
        found.ok_or_else(|| OperatingPointError::Unreachable { goal, of: of(label), highest })
    }
}

fn reaches(share: &Share, goal: f64) -> bool {
    share.value.is_some_and(|value| value >= goal)
}

/// What each possible threshold does, the highest first, where `there` pictures show what is looked for.
fn cuts(scored: &[(f32, bool)], there: usize, goal: Goal, label: Option<&String>) -> Vec<Fitted> {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut found, mut taken) = (0, 0);
    let cut = |tied: &[(f32, bool)]| {
        found += tied.iter().filter(|(_, is)| *is).count();
        taken += tied.len();
        let (precision, recall) = (Share::of(found, taken), Share::of(found, there));
        Fitted { goal, label: label.cloned(), threshold: tied[0].0, precision, recall }
    };
    sorted.chunk_by(|a, b| a.0 == b.0).map(cut).collect()
}

fn of(label: Option<&String>) -> String {
    label.map_or("the most probable class".to_owned(), |label| format!("class {label:?}"))
}

fn position(label: &str, labels: &[String]) -> Result<usize, OperatingPointError> {
    labels
        .iter()
        .position(|l| l == label)
        .ok_or_else(|| OperatingPointError::Label { label: label.to_owned(), there: labels.to_vec() })
}
