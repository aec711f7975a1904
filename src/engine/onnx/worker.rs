//! The worker half: a batch becomes runs, runs become features.

use std::sync::{Arc, PoisonError};

use ndarray::{Array2, s};

use super::model::{Adaptation, Given};
use super::plan::{Part, Policy, Run};
use super::run::{AdaptedBy, Call, Runner};
use super::{BatchForm, Own, Provider, Resident, Shared, measure};
use crate::backbone::PositionRule;
use crate::engine::{Engine, EngineError, Group, Lens, patches};
use crate::image::Pixels;

/// Runs batches; owned by one thread.
pub struct Worker {
    policy: Policy,
    runner: Runner,
}

/// What groups must share to run together.
#[derive(Clone, Copy, PartialEq)]
struct Alike {
    grid: (usize, usize),
    rule: PositionRule,
    given: Given,
}

impl Worker {
    /// Opens the sessions that batches will need, and measures them where that decides how batches run.
    pub fn start(shared: Arc<Shared>) -> Result<Self, EngineError> {
        let (form, given) = (shared.settings.form(), shared.given());
        // Compiling takes minutes: not in a request.
        let compiles = shared.settings.provider == Provider::Tensorrt;
        let mut runner = Runner::new(shared)?;
        let policy = match form {
            BatchForm::Group if compiles => measure::of_group(&mut runner).map(|_| Policy::Group)?,
            BatchForm::Mixed if compiles => measure::of_mixed(&mut runner).map(|_| Policy::Mixed)?,
            BatchForm::Group => runner.open(Adaptation::Vector, given).map(|()| Policy::Group)?,
            BatchForm::Mixed => runner.open(Adaptation::Rows, given).map(|()| Policy::Mixed)?,
            BatchForm::Auto => Policy::Cheapest(measure::costs(&mut runner)?),
        };
        Ok(Self { policy, runner })
    }

    fn alike(&self, group: &Group<'_>) -> Alike {
        let shared = self.runner.shared();
        let are_bytes = group.rows.iter().all(|pixels| matches!(pixels, Pixels::U8 { .. }));
        Alike {
            grid: patches::grid(group.rows[0], shared.backbone.shape.patch),
            rule: group.lens.adapter.position_rule,
            given: if are_bytes { shared.given() } else { Given::Values },
        }
    }

    /// A group with a session of its own.
    fn run_own(&mut self, own: &Own, group: &Group<'_>, features: &mut Array2<f32>) -> Result<(), EngineError> {
        // A session has no state between runs, so one that a panic left behind is as good as new.
        let mut session = own.session.lock().unwrap_or_else(PoisonError::into_inner);
        for run in Policy::Group.plan(&[group.rows.len()], &self.runner.shared().limits()) {
            let mut call = Call::new(group.lens.adapter.position_rule, Given::Values, AdaptedBy::Nothing);
            run.parts().iter().for_each(|part| call.add(group.lens, &group.rows[part.rows.clone()], 0));
            let answers = self.runner.run_in(&mut session, &call)?;
            hand_out(&answers, run.parts(), |_| 0, std::slice::from_mut(features));
        }
        Ok(())
    }

    /// One run of groups that are alike.
    fn run_shared(&mut self, groups: &[&Group<'_>], run: &Run, alike: Alike) -> Result<Array2<f32>, EngineError> {
        let rows = |part: &Part| &groups[part.group].rows[part.rows.clone()];
        match run {
            Run::Group(part) => {
                let lens = groups[part.group].lens;
                let mut call = Call::new(alike.rule, alike.given, AdaptedBy::Vector(&lens.adapter.rescale));
                call.add(lens, rows(part), 0);
                self.runner.run(&call)
            }
            Run::Mixed(parts) => {
                let lenses: Vec<_> = parts.iter().map(|part| groups[part.group].lens).collect();
                let keyed = lenses.iter().map(|lens| (key(lens), &*lens.adapter.rescale));
                let slots = self.runner.pin(keyed)?;
                let mut call = Call::new(alike.rule, alike.given, AdaptedBy::Table);
                for ((part, lens), &slot) in parts.iter().zip(lenses).zip(&slots) {
                    call.add(lens, rows(part), slot);
                }
                let answers = self.runner.run(&call);
                self.runner.unpin(&slots);
                answers
            }
        }
    }
}

impl Engine for Worker {
    fn run(&mut self, batch: &[Group<'_>]) -> Result<Vec<Array2<f32>>, EngineError> {
        let columns = 2 * self.runner.shared().backbone.shape.width;
        let mut features: Vec<_> = batch.iter().map(|group| Array2::zeros((group.rows.len(), columns))).collect();
        let mut alike: Vec<(Alike, Vec<usize>)> = Vec::new();
        for (index, group) in batch.iter().enumerate() {
            if let Some(own) = carried::<Own>(group.lens) {
                self.run_own(own, group, &mut features[index])?;
                continue;
            }
            let kind = self.alike(group);
            match alike.iter_mut().find(|(other, _)| *other == kind) {
                Some((_, indices)) => indices.push(index),
                None => alike.push((kind, vec![index])),
            }
        }
        for (kind, indices) in alike {
            let groups: Vec<_> = indices.iter().map(|&index| &batch[index]).collect();
            let rows: Vec<_> = groups.iter().map(|group| group.rows.len()).collect();
            for run in self.policy.plan(&rows, &self.runner.shared().limits()) {
                let answers = self.run_shared(&groups, &run, kind)?;
                hand_out(&answers, run.parts(), |group| indices[group], &mut features);
            }
        }
        Ok(features)
    }
}

/// Copies the rows of a run to the groups that they belong to.
fn hand_out(answers: &Array2<f32>, parts: &[Part], index: impl Fn(usize) -> usize, features: &mut [Array2<f32>]) {
    let mut from = 0;
    for part in parts {
        let rows = from..from + part.rows.len();
        from = rows.end;
        features[index(part.group)].slice_mut(s![part.rows.clone(), ..]).assign(&answers.slice(s![rows, ..]));
    }
}

fn carried<T: 'static>(lens: &Lens) -> Option<&T> {
    lens.prepared.as_ref().and_then(|prepared| prepared.downcast_ref())
}

fn key(lens: &Lens) -> super::slots::Key {
    carried::<Resident>(lens).expect("a lens that is rescaled here was prepared here").key
}
