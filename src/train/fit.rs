use super::job::Job;
use super::learner::{LearnError, Learner};
use super::sampler::order;
use super::state::{EpochRecord, Position, State};
use crate::engine::training::Trainable;

/// What follows the training from outside.
pub trait Watch {
    /// Why a state could not be kept.
    type Error;

    /// Called after every step; says what to do next.
    fn stepped(&mut self, progress: &Progress<'_>) -> Next;
    /// Called after every epoch, before its state is kept.
    fn epoch_done(&mut self, record: &EpochRecord);
    /// Keeps the state, so that the run can go on from it.
    fn keep(&mut self, state: &State) -> Result<(), Self::Error>;
}

/// Where a run is after a step.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The position after the step.
    pub at: &'a Position,
    /// Steps of the epoch.
    pub steps: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Pictures of the step.
    pub pictures: usize,
}

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Go,
    /// Keep the state and go on.
    Keep,
    /// Keep the state and stop.
    Stop,
}

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All epochs are complete.
    Complete,
    /// It was told to stop.
    Stopped,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum FitError<E> {
    /// Training failed.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// The state could not be kept.
    #[error("{0}")]
    Keep(E),
}

/// Trains from `state` to the last epoch. The same job, engine and state give the same end, however often the run was
/// stopped in between.
pub fn fit<W: Watch>(
    job: &Job,
    engine: &mut dyn Trainable,
    state: &mut State,
    watch: &mut W,
) -> Result<End, FitError<W::Error>> {
    let mut learner = Learner::new(job, engine);
    while state.at.epoch < job.recipe.schedule.total() {
        if epoch(job, &mut learner, state, watch)? == End::Stopped {
            return Ok(End::Stopped);
        }
        let validation = learner.validate(&state.parameters)?;
        let record = close(job, state, validation);
        watch.epoch_done(&record);
        watch.keep(state).map_err(FitError::Keep)?;
    }
    Ok(End::Complete)
}

/// The steps that are left of an epoch.
fn epoch<W: Watch>(
    job: &Job,
    learner: &mut Learner<'_>,
    state: &mut State,
    watch: &mut W,
) -> Result<End, FitError<W::Error>> {
    let (classes, seed) = (job.task.labels.len(), job.recipe.seed);
    let order = order(job.recipe.sampler, &job.train, classes, seed, state.at.epoch);
    let steps = order.len().div_ceil(job.recipe.batch_size);
    for examples in order.chunks(job.recipe.batch_size).skip(state.at.step) {
        let step = learner.step(state, examples)?;
        state.at.step += 1;
        #[expect(clippy::cast_precision_loss, reason = "pictures of a step are far fewer than 2^52")]
        let sum = step.loss * step.pictures as f64;
        state.at.loss_sum += sum;
        state.at.pictures += step.pictures;
        let epochs = job.recipe.schedule.total();
        let next = watch.stepped(&Progress { at: &state.at, steps, epochs, pictures: step.pictures });
        if next != Next::Go {
            watch.keep(state).map_err(FitError::Keep)?;
        }
        if next == Next::Stop {
            return Ok(End::Stopped);
        }
    }
    Ok(End::Complete)
}

/// Moves on to the next epoch and remembers the best one; of equals the first.
fn close(job: &Job, state: &mut State, validation: Option<super::score::Scores>) -> EpochRecord {
    let at = &mut state.at;
    #[expect(clippy::cast_precision_loss, reason = "pictures of an epoch are far fewer than 2^52")]
    let train_loss = at.loss_sum / at.pictures as f64;
    let learning_rate = job.recipe.schedule.rate(at.epoch, job.recipe.learning_rate);
    let record = EpochRecord { epoch: at.epoch, learning_rate, train_loss, validation };
    let measure = |record: &EpochRecord| record.validation.map(|scores| scores.selected(job.recipe.select_by));
    let best = at.best_epoch.and_then(|best| at.history.get(best)).and_then(measure);
    if measure(&record).is_some_and(|found| best.is_none_or(|best| found > best)) {
        at.best_epoch = Some(at.epoch);
        state.best.clone_from(&state.parameters);
    }
    at.history.push(record.clone());
    (at.epoch, at.step, at.loss_sum, at.pictures) = (at.epoch + 1, 0, 0.0, 0);
    record
}
