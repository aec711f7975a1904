use std::fmt;

use serde::Serialize;

use crate::backbone::Fingerprint;

/// Longest name quoted from a hostile file.
const QUOTE_CHARS_MAX: usize = 120;

/// One fault of a file: where, what, and what it should have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A tensor's name, a metadata key (`preprocess.size`), or `file`.
    pub place: String,
    /// A sentence.
    pub problem: String,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What the file has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl Problem {
    /// A fault without further particulars.
    pub fn new(place: impl AsRef<str>, problem: impl Into<String>) -> Self {
        Self { place: quote(place.as_ref()), problem: problem.into(), expected: None, found: None }
    }

    /// What would be right.
    #[must_use]
    pub fn expected(self, expected: impl ToString) -> Self {
        Self { expected: Some(expected.to_string()), ..self }
    }

    /// What the file has; cut when it is long.
    #[must_use]
    pub fn found(self, found: impl ToString) -> Self {
        Self { found: Some(quote(&found.to_string())), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)?;
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => write!(f, " (expected {expected}, found {found})"),
            (Some(expected), None) => write!(f, " (expected {expected})"),
            (None, Some(found)) => write!(f, " (found {found})"),
            (None, None) => Ok(()),
        }
    }
}

/// Cut when it is long, and without characters that would steer a terminal.
fn quote(text: &str) -> String {
    let mut quoted: String =
        text.chars().take(QUOTE_CHARS_MAX).collect::<String>().replace(char::is_control, "\u{fffd}");
    if text.chars().nth(QUOTE_CHARS_MAX).is_some() {
        quoted.push('…');
    }
    quoted
}

/// Why a file is no adapter for this backbone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// The bytes are something else, or a damaged container.
    #[error("{0}")]
    NotAnAdapter(String),
    /// Trained for another backbone; its tensors were not judged against this one.
    #[error(
        "the adapter belongs to backbone {found}, not to {expected}: serve it on its own backbone, or train or import \
         it for this one{}", also(.problems)
    )]
    OtherBackbone {
        /// The backbone at hand.
        expected: Fingerprint,
        /// The file's.
        found: Fingerprint,
        /// Whatever else is wrong.
        problems: Vec<Problem>,
    },
    /// Every fault that was found, at least one.
    #[error("the adapter file has {} {}: {}", .0.len(), if .0.len() == 1 { "fault" } else { "faults" }, listed(.0))]
    Invalid(Vec<Problem>),
}

impl AdapterError {
    /// The faults, one object each, in every case at least one.
    pub fn problems(&self) -> Vec<Problem> {
        match self {
            Self::NotAnAdapter(sentence) => vec![Problem::new("file", sentence.clone())],
            Self::OtherBackbone { expected, found, problems } => {
                let other = Problem::new("backbone", "the adapter belongs to another backbone");
                let mut all = vec![other.expected(expected).found(found)];
                all.extend_from_slice(problems);
                all
            }
            Self::Invalid(problems) => problems.clone(),
        }
    }
}

/// Problems that a sentence spells out; the rest are counted and found in [`AdapterError::problems`].
const LISTED_MAX: usize = 5;

fn listed(problems: &[Problem]) -> String {
    let mut text = problems.iter().take(LISTED_MAX).map(Problem::to_string).collect::<Vec<_>>().join("; ");
    if problems.len() > LISTED_MAX {
        text.push_str(&format!("; and {} more", problems.len() - LISTED_MAX));
    }
    text
}

fn also(problems: &[Problem]) -> String {
    if problems.is_empty() { String::new() } else { format!("; it also has faults: {}", listed(problems)) }
}

/// Gathers faults up to a limit and counts the rest.
pub(super) struct Problems {
    list: Vec<Problem>,
    list_max: usize,
    more: usize,
}

impl Problems {
    pub fn new(list_max: usize) -> Self {
        Self { list: Vec::new(), list_max, more: 0 }
    }

    pub fn push(&mut self, problem: Problem) {
        if self.list.len() < self.list_max {
            self.list.push(problem);
        } else {
            self.more += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The list; its last entry says how many more there were.
    pub fn into_vec(mut self) -> Vec<Problem> {
        if self.more > 0 {
            self.list.push(Problem::new("file", format!("and {} more faults", self.more)));
        }
        self.list
    }
}
