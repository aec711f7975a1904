//! An engine that waits until it may go on: what is in flight stays there for as long as a test wants.

use std::sync::{Arc, Condvar, Mutex};

use manylens::adapter::Adapter;
use manylens::engine::{Backend, Description, Engine, EngineError, Form, Group, Lens};
use ndarray::Array2;

/// Closes and opens the way to the engine.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    closed: bool,
    broken: bool,
    waiting: usize,
}

impl Gate {
    pub fn close(&self) {
        self.set(|state| state.closed = true);
    }

    pub fn open(&self) {
        self.set(|state| state.closed = false);
    }

    /// Batches end the engine's thread from now on.
    pub fn break_engine(&self) {
        self.set(|state| state.broken = true);
    }

    /// Returns once a batch waits at the gate.
    pub fn wait_for_batch(&self) {
        let (state, changed) = &*self.0;
        let _waiting =
            changed.wait_while(state.lock().expect("no panic"), |state| state.waiting == 0).expect("no panic");
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        let (state, changed) = &*self.0;
        change(&mut state.lock().expect("no panic"));
        changed.notify_all();
    }

    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().expect("no panic");
        state.waiting += 1;
        changed.notify_all();
        let mut state = changed.wait_while(state, |state| state.closed).expect("no panic");
        state.waiting -= 1;
        let broken = state.broken;
        drop(state);
        assert!(!broken, "a test breaks the engine");
    }
}

/// An engine behind a gate.
pub struct Gated {
    pub gate: Gate,
    pub inner: Arc<dyn Backend>,
}

struct GatedEngine {
    gate: Gate,
    inner: Box<dyn Engine>,
}

impl Backend for Gated {
    fn describe(&self) -> Description {
        self.inner.describe()
    }

    fn prepare(&self, adapter: Arc<Adapter>, form: Form) -> Result<Lens, EngineError> {
        self.inner.prepare(adapter, form)
    }

    fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(GatedEngine { gate: self.gate.clone(), inner: self.inner.start()? }))
    }
}

impl Engine for GatedEngine {
    fn run(&mut self, batch: &[Group<'_>]) -> Result<Vec<Array2<f32>>, EngineError> {
        self.gate.pass();
        self.inner.run(batch)
    }
}
