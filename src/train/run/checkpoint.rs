use std::collections::BTreeMap;

use ndarray::Array2;

use crate::tensors::{Named, TensorError, TensorFile, serialize};
use crate::train::job::Job;
use crate::train::objective::NO_LOGITS;
use crate::train::optimizer::AdamW;
use crate::train::state::{Position, State};

const FORMAT: &str = "manylens.checkpoint.2";
const PARAMETERS: &str = "parameters";
const MEAN: &str = "adamw.mean";
const SQUARE: &str = "adamw.square";
const BEST: &str = "best";
const PREVIOUS: &str = "previous_logits";

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not a container.
    #[error(transparent)]
    Tensors(#[from] TensorError),
    /// Another file, or one of another version.
    #[error("it is no checkpoint of this version of manylens")]
    Format,
    /// Of other settings.
    #[error("it belongs to a run with other settings")]
    OtherRun,
    /// A tensor or a key is missing, has the wrong shape, or says what no run comes to.
    #[error("{0} is missing or does not fit this run")]
    Part(&'static str),
    /// More bytes than any state of the run has.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
}

/// The whole state as a safetensors file, tied to the run of that hash. Equal states give equal bytes.
pub fn write(state: &State, run: &str) -> Vec<u8> {
    let vector = |name, values: &[f32]| Named::f32(name, vec![values.len()], values);
    let previous: Vec<f32> = state.previous.iter().copied().collect();
    let tensors = [
        vector(PARAMETERS, &state.parameters),
        vector(MEAN, &state.optimizer.mean),
        vector(SQUARE, &state.optimizer.square),
        vector(BEST, &state.best),
        Named::f32(PREVIOUS, state.previous.shape().to_vec(), &previous),
    ];
    let position = serde_json::to_string(&state.at).expect("numbers and names");
    let metadata = [
        ("format", FORMAT.to_owned()),
        ("run", run.to_owned()),
        ("steps", state.optimizer.steps.to_string()),
        ("position", position),
    ];
    serialize(&tensors, &metadata.map(|(key, value)| (key.to_owned(), value)).into())
}

/// Reads what [`write`] wrote for the job of that run.
pub fn read(bytes: &[u8], run: &str, job: &Job) -> Result<State, CheckpointError> {
    let file = TensorFile::parse(bytes)?;
    if key(file.metadata(), "format")? != FORMAT {
        return Err(CheckpointError::Format);
    }
    if key(file.metadata(), "run")? != run {
        return Err(CheckpointError::OtherRun);
    }
    let count = job.places.count();
    let fresh = State::initial(job);
    let at: Position =
        serde_json::from_str(key(file.metadata(), "position")?).map_err(|_| CheckpointError::Part("position"))?;
    let steps = key(file.metadata(), "steps")?.parse().map_err(|_| CheckpointError::Part("steps"))?;
    check_position(&at, steps, job)?;
    let best = finite(&file, BEST, None)?;
    if best.len() != at.best_epoch.map_or(0, |_| count) {
        return Err(CheckpointError::Part(BEST));
    }
    let square = finite(&file, SQUARE, Some(&[count]))?;
    if square.iter().any(|&square| square < 0.0) {
        return Err(CheckpointError::Part(SQUARE));
    }
    let previous = values(&file, PREVIOUS, Some(fresh.previous.shape()))?;
    if !previous.iter().all(|&logit| logit.is_finite() || logit == NO_LOGITS) {
        return Err(CheckpointError::Part(PREVIOUS));
    }
    Ok(State {
        at,
        parameters: finite(&file, PARAMETERS, Some(&[count]))?,
        optimizer: AdamW { steps, mean: finite(&file, MEAN, Some(&[count]))?, square },
        previous: Array2::from_shape_vec(fresh.previous.dim(), previous)
            .map_err(|_| CheckpointError::Part(PREVIOUS))?,
        best,
    })
}

/// Bytes that no state of the job exceeds.
pub fn bytes_max(job: &Job) -> u64 {
    // Four vectors of parameters, logits of every example, and a kilobyte for each epoch and for the rest.
    let numbers = 4 * job.places.count() + job.train.len() * job.task.labels.len();
    (4 * numbers + 1024 * (job.recipe.schedule.total() + 64)) as u64
}

/// Whether a run can be there: its own epochs, in order, and so many steps of the next one.
fn check_position(at: &Position, steps: u32, job: &Job) -> Result<(), CheckpointError> {
    let of_epoch = job.train.len().div_ceil(job.recipe.batch_size);
    let all = at.epoch.checked_mul(of_epoch).and_then(|before| before.checked_add(at.step));
    let pictures = at.step.saturating_mul(job.recipe.batch_size).min(job.train.len());
    let in_order = at.history.iter().zip(1..).all(|(record, epoch)| record.epoch == epoch);
    let sums = at.history.iter().map(|record| record.train_loss).chain([at.loss_sum]).all(f64::is_finite);
    let is_there = at.epoch <= job.recipe.schedule.total() && at.history.len() == at.epoch && in_order && sums;
    if !is_there || at.step > of_epoch || at.pictures != pictures || at.best_epoch.is_some_and(|best| best >= at.epoch)
    {
        return Err(CheckpointError::Part("position"));
    }
    if all == usize::try_from(steps).ok() { Ok(()) } else { Err(CheckpointError::Part("steps")) }
}

fn key<'m>(metadata: &'m BTreeMap<String, String>, name: &'static str) -> Result<&'m str, CheckpointError> {
    metadata.get(name).map(String::as_str).ok_or(CheckpointError::Part(name))
}

/// Values that are all finite numbers.
fn finite(file: &TensorFile<'_>, name: &'static str, shape: Option<&[usize]>) -> Result<Vec<f32>, CheckpointError> {
    let values = values(file, name, shape)?;
    if values.iter().all(|value| value.is_finite()) { Ok(values) } else { Err(CheckpointError::Part(name)) }
}

fn values(file: &TensorFile<'_>, name: &'static str, shape: Option<&[usize]>) -> Result<Vec<f32>, CheckpointError> {
    let (found, values) = file.f32(name).ok_or(CheckpointError::Part(name))??;
    match shape {
        Some(shape) if shape != found => Err(CheckpointError::Part(name)),
        _ => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::consistency::{Consistency, Mode};
    use crate::train::testing;

    /// After a step or two, with everything that a state can hold.
    fn state(job: &Job) -> State {
        let mut state = State::initial(job);
        state.at.loss_sum = 0.1 + 0.2;
        (state.at.step, state.at.pictures, state.optimizer.steps) = (1, job.recipe.batch_size.min(job.train.len()), 1);
        state.optimizer.mean[1] = 1e-20;
        state.previous[[1, 0]] = 0.25;
        state
    }

    #[test]
    fn what_was_written_is_read_back_bit_for_bit() {
        let consistency = Consistency { mode: Mode::Fast, lambda: 1.0, sigma: 0.5 };
        let job = testing::job(|recipe| recipe.consistency = Some(consistency));
        let state = state(&job);
        let bytes = write(&state, "sha256:1");
        let read = read(&bytes, "sha256:1", &job).expect("a checkpoint");
        assert_eq!(read, state);
        assert_eq!(write(&read, "sha256:1"), bytes);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let job = testing::job(|_| ());
        let bytes = write(&State::initial(&job), "sha256:1");
        assert!(matches!(read(&bytes, "sha256:2", &job), Err(CheckpointError::OtherRun)));
        assert!(read(&bytes[..bytes.len() - 1], "sha256:1", &job).is_err());
        assert!(bytes.len() as u64 <= bytes_max(&job));
        let wrong = |edit: &dyn Fn(&mut State)| {
            let mut state = State::initial(&job);
            edit(&mut state);
            read(&write(&state, "sha256:1"), "sha256:1", &job).expect_err("no run comes to that").to_string()
        };
        for edit in [
            &(|state: &mut State| state.at.step = 1000) as &dyn Fn(&mut State),
            &|state| state.at.step = usize::MAX,
            &|state| state.at.pictures = 1,
            &|state| state.at.epoch = 1,
            &|state| state.at.best_epoch = Some(0),
        ] {
            assert!(wrong(edit).contains("position"), "{}", wrong(edit));
        }
        assert!(wrong(&|state| state.optimizer.steps = 7).contains("steps"));
        assert!(wrong(&|state| state.parameters[0] = f32::NAN).contains(PARAMETERS));
        assert!(wrong(&|state| state.optimizer.square[0] = -1.0).contains(SQUARE));
        let noisy = testing::job(|recipe| {
            recipe.consistency = Some(Consistency { mode: Mode::Fast, lambda: 1.0, sigma: 0.5 });
        });
        assert!(matches!(read(&bytes, "sha256:1", &noisy), Err(CheckpointError::Part(PREVIOUS))));
    }
}
