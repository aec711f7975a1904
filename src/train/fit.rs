use std::ops::ControlFlow;

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
    /// Whether somebody wants the run to stop; asked while the validation split is looked at.
    fn is_asked_to_stop(&self) -> bool;
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
        let ControlFlow::Continue(validation) = learner.validate(&state.parameters, &|| watch.is_asked_to_stop())?
        else {
            watch.keep(state).map_err(FitError::Keep)?;
            return Ok(End::Stopped);
        };
        if validation.is_some_and(|scores| !scores.loss.is_finite()) {
            let (at, rate) = (&state.at, job.recipe.schedule.rate(state.at.epoch, job.recipe.learning_rate));
            return Err(LearnError::NotFinite { epoch: at.epoch + 1, step: at.step, rate }.into());
        }
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
    for draws in order.chunks(job.recipe.batch_size).skip(state.at.step) {
        let step = learner.step(state, draws)?;
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

/// Moves on to the next epoch and remembers the best one; of equals the one of the smallest validation loss, so that an
/// epoch of warm-up that changed nothing wins over none that learnt.
fn close(job: &Job, state: &mut State, validation: Option<super::score::Scores>) -> EpochRecord {
    let at = &mut state.at;
    #[expect(clippy::cast_precision_loss, reason = "pictures of an epoch are far fewer than 2^52")]
    let train_loss = at.loss_sum / at.pictures as f64;
    let learning_rate = job.recipe.schedule.rate(at.epoch, job.recipe.learning_rate);
    let record = EpochRecord { epoch: at.epoch + 1, learning_rate, train_loss, validation };
    let measure = |record: &EpochRecord| record.validation.map(|scores| (scores.selected(job.measure), -scores.loss));
    let best = at.best_epoch.and_then(|best| at.history.get(best)).and_then(measure);
    if measure(&record).is_some_and(|found| best.is_none_or(|best| found > best)) {
        at.best_epoch = Some(at.epoch);
        state.best.clone_from(&state.parameters);
    }
    at.history.push(record.clone());
    (at.epoch, at.step, at.loss_sum, at.pictures) = (at.epoch + 1, 0, 0.0, 0);
    record
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::train::consistency::{Consistency, Mode};
    use crate::train::recipe::{Method, Recipe, Sampler};
    use crate::train::testing;

    /// Stops after that many steps, if ever; holds what was kept last.
    #[derive(Default)]
    struct Follow {
        steps_left: Option<usize>,
        /// Asks to stop while this epoch is validated, counted from 0.
        stop_in: Option<usize>,
        records: Vec<EpochRecord>,
        kept: Option<State>,
    }

    impl Watch for Follow {
        type Error = Infallible;

        fn stepped(&mut self, _: &Progress<'_>) -> Next {
            self.steps_left = self.steps_left.map(|left| left - 1);
            if self.steps_left == Some(0) { Next::Stop } else { Next::Go }
        }

        fn epoch_done(&mut self, record: &EpochRecord) {
            self.records.push(record.clone());
        }

        fn is_asked_to_stop(&self) -> bool {
            self.stop_in == Some(self.records.len())
        }

        fn keep(&mut self, state: &State) -> Result<(), Infallible> {
            self.kept = Some(state.clone());
            Ok(())
        }
    }

    fn run(job: &Job, state: &mut State, steps_left: Option<usize>) -> (End, Follow) {
        let mut follow = Follow { steps_left, ..Follow::default() };
        let end = fit(job, &mut *testing::engine(job), state, &mut follow).expect("it trains");
        (end, follow)
    }

    /// With everything that is random: dropout, noise, mirroring, the order, earlier logits.
    fn everything(recipe: &mut Recipe) {
        (recipe.dropout, recipe.flip, recipe.passes) = (0.2, true, 2);
        recipe.consistency = Some(Consistency { mode: Mode::Fast, lambda: 0.5, sigma: 0.3 });
    }

    #[test]
    fn a_run_that_is_stopped_after_any_step_ends_as_if_it_had_not() {
        let job = testing::job(everything);
        let mut whole = State::initial(&job);
        assert_eq!(run(&job, &mut whole, None).0, End::Complete);
        for steps in [1, 3, 4, 8] {
            let mut first = State::initial(&job);
            let (end, follow) = run(&job, &mut first, Some(steps));
            assert_eq!(end, End::Stopped);
            let mut kept = follow.kept.expect("what was stopped is kept");
            assert_eq!(run(&job, &mut kept, None).0, End::Complete);
            assert_eq!(kept, whole, "{steps}");
        }
    }

    #[test]
    fn a_run_that_is_stopped_while_it_validates_ends_as_if_it_had_not() {
        let job = testing::job(everything);
        let mut whole = State::initial(&job);
        run(&job, &mut whole, None);
        let (mut state, mut follow) = (State::initial(&job), Follow { stop_in: Some(1), ..Follow::default() });
        let end = fit(&job, &mut *testing::engine(&job), &mut state, &mut follow).expect("it trains");
        let mut kept = follow.kept.expect("what was stopped is kept");
        assert_eq!((end, kept.at.epoch, kept.at.step), (End::Stopped, 1, 3));
        assert_eq!(run(&job, &mut kept, None).0, End::Complete);
        assert_eq!(kept, whole);
    }

    /// A class is drawn again and again: each time cut out and mirrored anew, and alike after a stop.
    #[test]
    fn a_balanced_run_that_is_stopped_ends_as_if_it_had_not() {
        let job = testing::job(|recipe| {
            everything(recipe);
            (recipe.sampler, recipe.random_crop) = (Sampler::Balanced, true);
        });
        let mut whole = State::initial(&job);
        run(&job, &mut whole, None);
        let mut first = State::initial(&job);
        let (_, follow) = run(&job, &mut first, Some(4));
        let mut kept = follow.kept.expect("what was stopped is kept");
        run(&job, &mut kept, None);
        assert_eq!(kept, whole);
    }

    #[test]
    fn training_separates_what_it_is_shown() {
        for method in [Method::Rlrr, Method::Linear, Method::Ssf, Method::Shifts] {
            let job = testing::job(|recipe| {
                recipe.method = method;
                (recipe.schedule.epochs, recipe.learning_rate) = (15, 1e-2);
            });
            let mut state = State::initial(&job);
            let (_, Follow { records, .. }) = run(&job, &mut state, None);
            let [first, last] = [&records[0], &records[14]].map(|record| record.train_loss);
            assert!(last < 0.7 * first, "{method:?}: {first} to {last}");
            let adapter = job.adapter(state.chosen(), serde_json::Value::Null);
            assert_eq!(*adapter.rescale == *job.layout.neutral(), method == Method::Linear);
        }
    }

    #[test]
    fn the_best_epoch_is_kept_beside_the_last() {
        let job = testing::job(|_| ());
        let mut state = State::initial(&job);
        let (_, Follow { records, .. }) = run(&job, &mut state, None);
        let scores = |record: &EpochRecord| record.validation.expect("there is a split");
        let best = records.iter().map(|record| scores(record).accuracy).fold(0.0, f64::max);
        let of_best = records.iter().enumerate().filter(|(_, record)| scores(record).accuracy == best);
        let first = of_best.min_by(|(_, a), (_, b)| scores(a).loss.total_cmp(&scores(b).loss)).map(|(epoch, _)| epoch);
        assert_eq!(state.at.best_epoch, first);
        assert_eq!(state.at.history, records);
        assert_eq!(state.best == state.parameters, first == Some(records.len() - 1));
    }

    #[test]
    fn a_diverged_run_says_so_and_what_was_kept_is_finite() {
        let job = testing::job(|recipe| recipe.learning_rate = 1e38);
        let (mut state, mut follow) = (State::initial(&job), Follow::default());
        let error = fit(&job, &mut *testing::engine(&job), &mut state, &mut follow).expect_err("it diverges");
        assert!(matches!(error, FitError::Learn(LearnError::NotFinite { epoch: 2, .. })), "{error}");
        let kept = follow.kept.expect("the first epoch, whose rate is tiny");
        assert!(kept.parameters.iter().all(|p| p.is_finite()));
    }
}
