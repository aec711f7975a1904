use std::collections::BTreeMap;

use ndarray::Array2;

use crate::tensors::{Named, TensorError, TensorFile, serialize};
use crate::train::job::Job;
use crate::train::optimizer::AdamW;
use crate::train::state::{Position, State};

const FORMAT: &str = "manylens.checkpoint.1";
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
    /// A tensor or a key is missing or has the wrong shape.
    #[error("{0} is missing or does not fit this run")]
    Part(&'static str),
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
    if at.epoch > job.recipe.schedule.total() || at.history.len() != at.epoch {
        return Err(CheckpointError::Part("position"));
    }
    let best = values(&file, BEST, None)?.1;
    if best.len() != at.best_epoch.map_or(0, |_| count) || at.best_epoch.is_some_and(|best| best >= at.epoch) {
        return Err(CheckpointError::Part(BEST));
    }
    let (_, previous) = values(&file, PREVIOUS, Some(fresh.previous.shape()))?;
    let steps = key(file.metadata(), "steps")?.parse().map_err(|_| CheckpointError::Part("steps"))?;
    Ok(State {
        at,
        parameters: values(&file, PARAMETERS, Some(&[count]))?.1,
        optimizer: AdamW {
            steps,
            mean: values(&file, MEAN, Some(&[count]))?.1,
            square: values(&file, SQUARE, Some(&[count]))?.1,
        },
        previous: Array2::from_shape_vec(fresh.previous.dim(), previous)
            .map_err(|_| CheckpointError::Part(PREVIOUS))?,
        best,
    })
}

fn key<'m>(metadata: &'m BTreeMap<String, String>, name: &'static str) -> Result<&'m str, CheckpointError> {
    metadata.get(name).map(String::as_str).ok_or(CheckpointError::Part(name))
}

fn values(
    file: &TensorFile<'_>,
    name: &'static str,
    shape: Option<&[usize]>,
) -> Result<(Vec<usize>, Vec<f32>), CheckpointError> {
    let (found, values) = file.f32(name).ok_or(CheckpointError::Part(name))??;
    match shape {
        Some(shape) if shape != found => Err(CheckpointError::Part(name)),
        _ => Ok((found, values)),
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
        state.at.step = 3;
        state.optimizer.steps = 7;
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
        let noisy = testing::job(|recipe| {
            recipe.consistency = Some(Consistency { mode: Mode::Fast, lambda: 1.0, sigma: 0.5 });
        });
        assert!(matches!(read(&bytes, "sha256:1", &noisy), Err(CheckpointError::Part(PREVIOUS))));
    }
}
