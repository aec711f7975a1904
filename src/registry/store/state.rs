//! `tasks/<task>/state.json`: which versions a task has and which one is active. Pure: no file is touched here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::adapter::{Method, Problem};
use crate::backbone::Fingerprint;
use crate::engine::Form;

/// The format that this release writes, and the newest that it reads.
pub const FORMAT_VERSION: u64 = 1;
/// Far beyond any real number of versions, and exact in every JSON reader.
const NUMBER_MAX: u64 = 1 << 53;

/// What a task's state file says. A version exists when it is named here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskState {
    format_version: u64,
    /// The version that answers.
    pub active: Option<u64>,
    /// The number of the next version. It only grows, so no number is used twice; a deleted task keeps it.
    pub next: u64,
    /// Versions by number.
    pub versions: BTreeMap<u64, Record>,
}

/// What is kept about a version beside its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// `sha256:` + hex of the file.
    pub hash: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// How it is served.
    pub form: Form,
    /// The backbone that it was made for.
    pub backbone: Fingerprint,
    /// How it was made.
    pub method: Method,
    /// Softmax or sigmoid.
    pub problem: Problem,
    /// Classes of its head.
    pub classes: usize,
    /// Unix time of its upload.
    pub created_unix_s: u64,
}

/// Why a state file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateFault {
    /// It is no state file.
    Damaged(String),
    /// The system refused to read it.
    Unreadable(String),
    /// A newer release wrote it.
    Newer(u64),
}

/// The state after an upload.
pub struct Grown {
    /// The new version's number.
    pub number: u64,
    /// What to store.
    pub state: TaskState,
    /// Versions that had to go.
    pub pruned: Vec<u64>,
}

impl TaskState {
    /// A task that never had a version.
    pub fn new() -> Self {
        Self::starting_at(1)
    }

    /// A task without versions whose next one gets this number.
    pub fn starting_at(next: u64) -> Self {
        Self { format_version: FORMAT_VERSION, active: None, next, versions: BTreeMap::new() }
    }

    /// Reads a state file and checks that it makes sense.
    pub fn parse(bytes: &[u8]) -> Result<Self, StateFault> {
        #[derive(Deserialize)]
        struct Stamp {
            format_version: u64,
        }
        let damaged = |e: serde_json::Error| StateFault::Damaged(e.to_string());
        let Stamp { format_version } = serde_json::from_slice(bytes).map_err(damaged)?;
        if format_version > FORMAT_VERSION {
            return Err(StateFault::Newer(format_version));
        }
        let state: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        match state.contradiction() {
            Some(what) => Err(StateFault::Damaged(what)),
            None => Ok(state),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let Self { active, next, versions, .. } = self;
        if *next == 0 || *next > NUMBER_MAX {
            return Some(format!("the next version cannot be {next}"));
        }
        if let Some(number) = versions.keys().find(|&&number| number == 0 || number >= *next) {
            return Some(format!("version {number} is not below the next one, {next}"));
        }
        active
            .filter(|number| !versions.contains_key(number))
            .map(|number| format!("active is {number}, which is not there"))
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a state has string keys and finite numbers");
        bytes.push(b'\n');
        bytes
    }

    /// The version that has these bytes.
    pub fn find(&self, hash: &str) -> Option<u64> {
        self.versions.iter().find(|(_, record)| record.hash == hash).map(|(&number, _)| number)
    }

    /// With one more version. Of more than `keep` (at least 2) the oldest go, but neither the active nor the new one.
    pub fn grown(&self, record: Record, activate: bool, keep: usize) -> Grown {
        let number = self.next;
        let mut state = self.clone();
        state.next += 1;
        state.versions.insert(number, record);
        if activate {
            state.active = Some(number);
        }
        let surplus = state.versions.len().saturating_sub(keep.max(2));
        let may_go = state.versions.keys().copied().filter(|&n| n != number && Some(n) != state.active);
        let pruned: Vec<u64> = may_go.take(surplus).collect();
        for gone in &pruned {
            state.versions.remove(gone);
        }
        Grown { number, state, pruned }
    }

    /// With this version active in this form. The version must be there.
    pub fn activated(&self, number: u64, form: Form) -> Self {
        let mut state = self.clone();
        if let Some(record) = state.versions.get_mut(&number) {
            record.form = form;
            state.active = Some(number);
        }
        state
    }

    /// Without this version.
    pub fn without(&self, number: u64) -> Self {
        let mut state = self.clone();
        state.versions.remove(&number);
        state.active = state.active.filter(|&active| active != number);
        state
    }

    /// What stays of a deleted task: the numbers that are used up.
    pub fn deleted(&self) -> Self {
        Self { active: None, versions: BTreeMap::new(), ..self.clone() }
    }

    /// A deleted task is one without versions.
    pub fn is_deleted(&self) -> bool {
        self.versions.is_empty()
    }
}
