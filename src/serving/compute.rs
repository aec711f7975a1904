//! One run of the engine, whatever it does.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::{Engine, Group, head};

/// Logits `[classes]` by row.
pub(super) type Logits = Vec<Vec<f32>>;

/// Why a batch has no logits.
pub(super) enum Failure {
    /// The engine said so; it can go on.
    Error(String),
    /// It panicked or broke its contract; it cannot be trusted any more.
    Broken(String),
}

/// Features from the engine, then each row's own head.
pub(super) fn compute(engine: &mut dyn Engine, groups: &[Group<'_>]) -> Result<Logits, Failure> {
    let computed = catch_unwind(AssertUnwindSafe(|| {
        let features = engine.run(groups).map_err(|error| Failure::Error(error.to_string()))?;
        let shaped =
            features.len() == groups.len() && features.iter().zip(groups).all(|(f, g)| f.nrows() == g.rows.len());
        if !shaped {
            return Err(Failure::Broken("it answered with another number of rows than it was given".into()));
        }
        let logits = groups.iter().zip(&features).flat_map(|(group, features)| {
            features.rows().into_iter().map(|row| head::logits(&group.lens.adapter, &row.to_vec()))
        });
        Ok(logits.collect())
    }));
    computed.unwrap_or_else(|panic| Err(Failure::Broken(format!("it panicked: {}", words(&*panic)))))
}

/// What a panic said.
pub(super) fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}
