use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A task's name: `[a-z0-9][a-z0-9._-]{0,62}`, and not `all`. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TaskName(Arc<str>);

/// The text is no task name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no task name: use 1 to 63 of a-z, 0-9, `.`, `_`, `-`, beginning with a letter or digit; `all` is reserved"
)]
pub struct TaskNameError(String);

impl TaskName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, TaskNameError> {
        let first = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let rest = |b: &u8| first(b) || matches!(b, b'.' | b'_' | b'-');
        let bytes = text.as_bytes();
        let ok = bytes.len() <= 63 && bytes.first().is_some_and(first) && bytes.iter().all(rest) && text != "all";
        if ok { Ok(Self(text.into())) } else { Err(TaskNameError(text.chars().take(80).collect())) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in ["a", "digits", "0-x.y_z", &"a".repeat(63)] {
            assert_eq!(TaskName::parse(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "all", ".a", "-a", "A", "a/b", "ä", &"a".repeat(64)] {
            assert!(TaskName::parse(bad).is_err(), "{bad}");
        }
    }
}
