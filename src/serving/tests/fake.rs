//! A decoder and an engine that do as they are told, and are stricter than the real ones.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use ndarray::Array2;

use crate::adapter::{Adapter, Decision, Head, Method, Pooling, Problem, Rule};
use crate::backbone::{Fingerprint, PositionRule};
use crate::engine::{Backend, Description, Engine, EngineError, Form, Group, Lens};
use crate::image::{ImageError, Pixels, Preprocess, Preset};
use crate::registry::{TaskName, Version};
use crate::serving::RowError;
use crate::serving::decode::Decode;

/// What the engine does with a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    Answer,
    /// The first row's features are NaN.
    NanFirst,
    Panic,
    Error,
    /// One row too few.
    Short,
}

/// Features of a picture: `[value, 1]` for CLS, the same for the mean. With [`version`]'s head the logits are the
/// picture's value and the version's mark, so that an answer shows whose it is.
pub struct Fake {
    state: Mutex<State>,
    changed: Condvar,
    pub batch_rows_max: usize,
}

#[derive(Default)]
struct State {
    /// For the batches to come; then [`Act::Answer`].
    script: VecDeque<Act>,
    /// Batches stop here until released.
    held: bool,
    /// `held` is about the first batch alone.
    only_first: bool,
    /// Values of the rows by group, for every batch that began.
    batches: Vec<Vec<Vec<f32>>>,
    starts: usize,
    /// Starting fails from this one on.
    starts_max: Option<usize>,
    faults: Vec<String>,
}

impl Fake {
    pub fn new(batch_rows_max: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), batch_rows_max })
    }

    pub fn script(&self, acts: &[Act]) {
        self.state.lock().unwrap().script.extend(acts);
    }

    pub fn hold(&self) {
        self.state.lock().unwrap().held = true;
    }

    pub fn release(&self) {
        self.state.lock().unwrap().held = false;
        self.changed.notify_all();
    }

    pub fn hold_only_the_first(&self) {
        self.state.lock().unwrap().only_first = true;
    }

    pub fn refuse_to_start_again(&self) {
        self.state.lock().unwrap().starts_max = Some(1);
    }

    pub fn starts(&self) -> usize {
        self.state.lock().unwrap().starts
    }

    pub fn batches(&self) -> Vec<Vec<Vec<f32>>> {
        self.state.lock().unwrap().batches.clone()
    }

    /// Values of all rows that ran, in order.
    pub fn ran(&self) -> Vec<f32> {
        self.batches().concat().concat()
    }

    /// What was wrong with the batches so far.
    pub fn all_faults(&self) -> Vec<String> {
        self.state.lock().unwrap().faults.clone()
    }

    fn faults(&self, batch: &[Group<'_>]) -> Vec<String> {
        let mut faults = vec![];
        let rows: usize = batch.iter().map(|group| group.rows.len()).sum();
        if rows == 0 || rows > self.batch_rows_max || batch.iter().any(|group| group.rows.is_empty()) {
            faults.push(format!("{rows} rows in {} groups", batch.len()));
        }
        for (at, group) in batch.iter().enumerate() {
            if group.rows.iter().any(|row| row.size() != group.rows[0].size()) {
                faults.push("pictures of two sizes in one group".into());
            }
            let same = |other: &Group<'_>| {
                Arc::ptr_eq(&other.lens.adapter, &group.lens.adapter) && other.rows[0].size() == group.rows[0].size()
            };
            if batch[..at].iter().any(same) {
                faults.push("one adapter in two groups".into());
            }
        }
        faults
    }
}

/// A backend that hands out workers of one [`Fake`].
pub struct FakeBackend(pub Arc<Fake>);

struct FakeEngine(Arc<Fake>);

impl Backend for FakeBackend {
    fn describe(&self) -> Description {
        Description { engine: "fake".into(), precision: "f32".into(), kernel: "none".into(), tolerance: 1e-3 }
    }

    fn prepare(&self, adapter: Arc<Adapter>, form: Form) -> Result<Lens, EngineError> {
        Ok(Lens { adapter, form, prepared: None, prepared_bytes: 0 })
    }

    fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        let mut state = self.0.state.lock().unwrap();
        if state.starts_max.is_some_and(|max| state.starts >= max) {
            return Err(EngineError::Unavailable("the device is gone".into()));
        }
        state.starts += 1;
        Ok(Box::new(FakeEngine(self.0.clone())))
    }
}

impl Engine for FakeEngine {
    fn run(&mut self, batch: &[Group<'_>]) -> Result<Vec<Array2<f32>>, EngineError> {
        let fake = &self.0;
        let values = |group: &Group<'_>| group.rows.iter().map(|row| value(row)).collect::<Vec<f32>>();
        let act = {
            let mut state = fake.state.lock().unwrap();
            let faults = fake.faults(batch);
            state.faults.extend(faults);
            state.batches.push(batch.iter().map(values).collect());
            let act = state.script.pop_front().unwrap_or(Act::Answer);
            fake.changed.notify_all();
            let first = state.batches.len() == 1;
            let held = |state: &mut State| state.held && (first || !state.only_first);
            drop(fake.changed.wait_while(state, held).unwrap());
            act
        };
        let features = |group: &Group<'_>| {
            let rows = values(group).into_iter().flat_map(|value| [value, 1.0, value, 1.0]).collect();
            Array2::from_shape_vec((group.rows.len(), 4), rows).unwrap()
        };
        let mut features: Vec<Array2<f32>> = batch.iter().map(features).collect();
        match act {
            Act::Answer => {}
            Act::NanFirst => features[0][[0, 0]] = f32::NAN,
            Act::Panic => panic!("told to"),
            Act::Error => return Err(EngineError::Runtime { what: "run", why: "told to".into() }),
            Act::Short => drop(features.pop()),
        }
        Ok(features)
    }
}

fn value(pixels: &Pixels) -> f32 {
    match pixels {
        Pixels::U8 { data, .. } => f32::from(data[0]),
        Pixels::F32 { data, .. } => data[0],
    }
}

/// A picture file is one byte, the picture's value; or `panic`, or anything else, which is refused.
#[derive(Default)]
pub struct FakeDecode {
    pub calls: AtomicUsize,
}

impl Decode for FakeDecode {
    fn decode(&self, bytes: &[u8], wanted: &[&Preprocess]) -> Vec<Result<Pixels, RowError>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match bytes {
            b"panic" => panic!("told to"),
            [value] => wanted.iter().map(|preprocess| Ok(picture(*value, preprocess.final_size()))).collect(),
            _ => vec![Err(ImageError::Empty.into()); wanted.len()],
        }
    }
}

/// A picture of this value.
pub fn picture(value: u8, side: usize) -> Pixels {
    Pixels::U8 { height: side, width: side, data: vec![value; side * side * 3].into() }
}

/// Two classes: the picture's value and `mark`.
pub fn adapter(mark: f32, side: usize) -> Adapter {
    Adapter {
        method: Method::Linear,
        backbone: Fingerprint("sha256:fake".into()),
        rescale: vec![].into(),
        head: Head { weight: vec![1.0, 0.0, 0.0, mark], bias: vec![0.0; 2] },
        labels: vec!["value".into(), "mark".into()],
        problem: Problem::SingleLabel,
        decision: Decision { rule: Rule::Argmax, thresholds: vec![], abstain_below: None },
        position_rule: PositionRule::BicubicSize,
        pooling: Pooling::Cls,
        preprocess: Preset::Vtab.at(side),
        temperature: 1.0,
        lineage: serde_json::Value::Null,
    }
}

/// A version of `task` whose second logit is `mark`.
pub fn version(task: &str, mark: f32, side: usize) -> Arc<Version> {
    let lens = Lens { adapter: Arc::new(adapter(mark, side)), form: Form::Rescaled, prepared: None, prepared_bytes: 0 };
    let task = TaskName::parse(task).unwrap();
    Arc::new(Version { task, number: mark as u64, hash: format!("sha256:{mark}"), lens })
}
