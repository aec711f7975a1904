use serde::Serialize;

use super::{Fitted, Goal, Report, Share};

/// What a point that was fitted on some pictures does on others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Held {
    /// What was to be reached.
    pub goal: Goal,
    /// By which class; by the most probable one without.
    pub label: Option<String>,
    /// What is reached, by the whole decision.
    pub reached: Share,
    /// Whether the goal is not above the interval of what is reached: the pictures don't speak against it. None without any.
    pub holds: Option<bool>,
}

impl Held {
    /// By the report on the other pictures.
    pub fn of(fitted: &Fitted, report: &Report) -> Self {
        let Fitted { goal, label, .. } = fitted;
        let class = report.classes.iter().find(|class| Some(&class.label) == label.as_ref());
        let reached = match (goal, class) {
            (Goal::Precision(_), None) => report.answered_right,
            (Goal::Precision(_), Some(class)) => class.precision,
            (Goal::Recall(_), None) => report.top1,
            (Goal::Recall(_), Some(class)) => class.recall,
        };
        Self {
            goal: *goal,
            label: label.clone(),
            reached,
            holds: (reached.all > 0).then(|| reached.interval.1 >= goal.share()),
        }
    }
}
