use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::ProgressBar;

use super::cases::Case;
use super::turns;
use crate::adapter::format::{self, Limits, Target};
use crate::adapter::{self, Adapter, Layout};
use crate::backbone::Backbone;
use crate::commands::{ADAPTER_BYTES_MAX, Error, file};
use crate::engine::{Backend, EngineError, Form, Group, Lens};
use crate::image::Pixels;

/// Classes of a random task; the head's share of the time is nothing.
pub const CLASSES: usize = 100;

/// A file that is no adapter of this backbone.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct AdapterError {
    path: PathBuf,
    source: format::AdapterError,
}

/// That many adapters: those of the files, which repeat when there are fewer, or random ones.
pub fn adapters(files: &[PathBuf], backbone: &Backbone, count: usize) -> Result<Vec<Arc<Adapter>>, Error> {
    if files.is_empty() {
        return Ok((0..count).map(|i| Arc::new(adapter::random(backbone, CLASSES, i as u64))).collect());
    }
    let read: Vec<_> = files.iter().take(count).map(|path| read(path, backbone)).collect::<Result<_, _>>()?;
    Ok(read.iter().cycle().take(count).cloned().collect())
}

fn read(path: &Path, backbone: &Backbone) -> Result<Arc<Adapter>, Error> {
    let (shape, fingerprint) = (&backbone.shape, &backbone.fingerprint);
    let target = Target { shape, layout: &Layout::of(shape), fingerprint, limits: Limits::default() };
    let file = format::read(&file::read(path, ADAPTER_BYTES_MAX)?, &target);
    let file = file.map_err(|source| AdapterError { path: path.to_owned(), source })?;
    Ok(Arc::new(file.adapter))
}

/// Adapters made ready for one engine, by form.
pub struct Lenses(BTreeMap<&'static str, Vec<Lens>>);

impl Lenses {
    /// As many of each form as the cases ask for, or as many merged ones as fit.
    pub fn prepare(backend: &dyn Backend, adapters: &[Arc<Adapter>], cases: &[Case]) -> Result<Self, EngineError> {
        let mut wanted = BTreeMap::<_, (Form, usize)>::new();
        for case in cases {
            let (_, tasks) = wanted.entry(case.form.name()).or_insert((case.form, 0));
            *tasks = case.tasks.max(*tasks);
        }
        let bar = turns::bar(wanted.len(), "preparing".into());
        let prepare = |(name, (form, tasks))| Ok((name, some(backend, &adapters[..tasks], form, &bar)?));
        let lenses = wanted.into_iter().map(prepare).collect::<Result<_, EngineError>>()?;
        bar.finish_and_clear();
        Ok(Self(lenses))
    }

    /// Whether there is one for each task of the case.
    pub fn are_enough_for(&self, case: &Case) -> bool {
        self.of(case.form).len() >= case.tasks
    }

    /// The batch of this case whose turn it is.
    pub fn groups<'a>(&'a self, case: Case, turn: usize, mut pictures: &'a [Pixels]) -> Vec<Group<'a>> {
        let lenses = self.of(case.form);
        let group = |(task, count): (usize, usize)| {
            let (rows, rest) = pictures.split_at(count);
            pictures = rest;
            Group { lens: &lenses[task], rows: rows.iter().collect() }
        };
        case.shares(turn).map(group).collect()
    }

    fn of(&self, form: Form) -> &[Lens] {
        self.0.get(form.name()).map_or(&[], Vec::as_slice)
    }
}

/// Stops where memory for merged weights ends.
fn some(
    backend: &dyn Backend,
    adapters: &[Arc<Adapter>],
    form: Form,
    bar: &ProgressBar,
) -> Result<Vec<Lens>, EngineError> {
    let mut lenses = Vec::with_capacity(adapters.len());
    let begun = bar.position();
    for adapter in adapters {
        match backend.prepare(adapter.clone(), form) {
            Ok(lens) => lenses.push(lens),
            Err(EngineError::MergeBudget { .. }) => break,
            Err(error) => return Err(error),
        }
        bar.set_position(begun + turns::part(lenses.len(), adapters.len()));
    }
    Ok(lenses)
}
