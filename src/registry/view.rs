//! What the store tells about itself.

use std::collections::HashMap;

use serde::Serialize;

use super::TaskName;
use crate::adapter::{Method, ProbeReport, Problem};
use crate::backbone::Fingerprint;
use crate::engine::Form;

/// Whether a task answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has an active version, and that version is loaded.
    Active,
    /// Versions are staged; none was activated.
    Staged,
    /// The active version belongs to another backbone or a newer release. Its files are untouched.
    Incompatible,
    /// The active version's file or the task's state file is damaged.
    Damaged,
    /// The active version could not be read or made ready; the reason says why.
    Unavailable,
}

/// A task in a listing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskView {
    /// Its name.
    pub task: TaskName,
    /// Whether it answers.
    pub status: Status,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Number of the active version.
    pub active: Option<u64>,
    /// How the active version is served; none when it is not loaded.
    pub form: Option<Form>,
    /// Labels of the active version, in class order; none when it is not loaded.
    pub labels: Option<Vec<String>>,
    /// Softmax or sigmoid of the active version; none when it is not loaded.
    pub problem: Option<Problem>,
    /// Stored versions, oldest first.
    pub versions: Vec<VersionView>,
}

impl TaskView {
    /// The task's ETag: its active version in quotes; none without one.
    pub fn etag(&self) -> Option<String> {
        self.active.map(super::etag::of)
    }
}

/// A stored version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionView {
    /// Its number.
    pub version: u64,
    /// `sha256:` + hex of its file.
    pub hash: String,
    /// Whether it is the active one.
    pub active: bool,
    /// How it is served, or would be when activated.
    pub form: Form,
    /// Bytes of its file.
    pub bytes: u64,
    /// Classes of its head.
    pub classes: usize,
    /// How it was made.
    pub method: Method,
    /// Softmax or sigmoid.
    pub problem: Problem,
    /// The backbone that it was made for.
    pub backbone: Fingerprint,
    /// Unix time of its upload.
    pub created_unix_s: u64,
    /// What is wrong with its file, if something was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// A page of tasks in name order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskPage {
    /// At most as many as were asked for.
    pub tasks: Vec<TaskView>,
    /// The `after` of the next page; none on the last.
    pub next: Option<TaskName>,
}

/// What the probe said.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Probed {
    /// The file carries none.
    Absent,
    /// It was not run, because the answer did not need it (the version exists, or the file has faults).
    NotRun,
    /// Every picture agrees.
    Passed(ProbeReport),
    /// A picture disagrees; dry runs only, an upload fails with it.
    Failed(ProbeReport),
}

/// How an upload's labels differ from the active version's.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LabelsDiff {
    /// Labels that only the upload has.
    pub added: Vec<String>,
    /// Labels that only the active version has.
    pub removed: Vec<String>,
    /// Labels that both have at another index.
    pub moved: Vec<String>,
    /// The active version's problem and the upload's, when they differ.
    pub problem: Option<(Problem, Problem)>,
}

impl LabelsDiff {
    /// The difference, if there is one.
    pub(super) fn between(active: (&[String], Problem), new: (&[String], Problem)) -> Option<Self> {
        let ((old_labels, old_problem), (new_labels, new_problem)) = (active, new);
        let places = |labels: &[String]| labels.iter().cloned().zip(0..).collect::<HashMap<String, usize>>();
        let (old, new) = (places(old_labels), places(new_labels));
        let only = |labels: &[String], other: &HashMap<String, usize>| {
            labels.iter().filter(|label| !other.contains_key(*label)).cloned().collect()
        };
        let moved = |label: &&String| old.get(*label).is_some_and(|place| *place != new[*label]);
        let diff = Self {
            added: only(new_labels, &old),
            removed: only(old_labels, &new),
            moved: new_labels.iter().filter(moved).cloned().collect(),
            problem: (old_problem != new_problem).then_some((old_problem, new_problem)),
        };
        (diff != Self::default()).then_some(diff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(active: &[&str], new: &[&str]) -> Option<LabelsDiff> {
        let own = |labels: &[&str]| labels.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
        let (active, new) = (own(active), own(new));
        LabelsDiff::between((&active, Problem::SingleLabel), (&new, Problem::SingleLabel))
    }

    #[test]
    fn a_difference_names_what_was_added_removed_and_moved() {
        assert_eq!(diff(&["a", "b"], &["a", "b"]), None);
        let found = diff(&["a", "b", "c"], &["c", "b", "d"]).expect("differs");
        assert_eq!((found.added, found.removed, found.moved), (vec!["d".into()], vec!["a".into()], vec!["c".into()]));
    }

    #[test]
    fn another_problem_is_a_difference_by_itself() {
        let labels = ["a".to_owned()];
        let found = LabelsDiff::between((&labels, Problem::SingleLabel), (&labels, Problem::MultiLabel));
        assert_eq!(found.expect("differs").problem, Some((Problem::SingleLabel, Problem::MultiLabel)));
    }
}
