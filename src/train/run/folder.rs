use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::checkpoint::{self, CheckpointError};
use crate::capped::read;
use crate::durable::replace;
use crate::hash::content_hash;
use crate::train::job::Job;
use crate::train::state::State;

const CONFIG: &str = "config.json";
const LOG: &str = "log.jsonl";
const CHECKPOINT: &str = "checkpoint.safetensors";
const RESULT: &str = "result.json";
const REPORT: &str = "report.html";
const LOCK: &str = "lock";
const NAMES: [&str; 5] = [CONFIG, LOG, CHECKPOINT, RESULT, REPORT];

/// A folder that has the run's settings (`config.json`), a line for each epoch (`log.jsonl`), the state from which it
/// goes on (`checkpoint.safetensors`) and, once it is complete, what came out (`result.json`, and `report.html` for
/// people). Locked while it is open.
pub struct RunFolder {
    path: PathBuf,
    run: String,
    _lock: File,
}

/// What to do with a run that the folder has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Refuse.
    New,
    /// Go on with it; begin where there is none.
    Resume,
    /// Replace it.
    Overwrite,
}

/// Why a run cannot begin, go on or be kept.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system's answer.
    #[error("{}: {source}; the run is as its last checkpoint says: mend this, and go on with --resume", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Two processes.
    #[error("{}: another process trains in this folder; name another one as --run-dir", .0.display())]
    Locked(PathBuf),
    /// A run that could be gone on with.
    #[error(
        "{} has a run that is not complete: go on with it by --resume, begin anew by --force, or name another folder \
         as --run-dir",
        .0.display()
    )]
    Unfinished(PathBuf),
    /// A run whose report and log are perhaps all that is left of it.
    #[error("{} has a complete run: name another folder as --run-dir, or replace it by --force", .0.display())]
    Complete(PathBuf),
    /// Files that a run would replace.
    #[error("{}: there is {name}, and no config.json of a run explains it; name another folder as --run-dir", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// A file there.
        name: &'static str,
    },
    /// Settings that are not those that the run began with.
    #[error("{} was begun with other settings ({differences}): give the same ones, or begin anew by --force", path.display())]
    OtherSettings {
        /// The folder.
        path: PathBuf,
        /// By name, each with the former and the present value.
        differences: String,
    },
    /// The checkpoint.
    #[error("{}: {source}; begin anew by --force", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CheckpointError,
    },
}

impl RunFolder {
    /// Makes or opens the folder for a run of these settings, and answers with the state to go on from.
    pub fn open(path: &Path, settings: &Value, start: Start, job: &Job) -> Result<(Self, State), RunError> {
        fs::create_dir_all(path).map_err(io_error(path))?;
        if !is_run(path)
            && let Some(name) = NAMES.into_iter().find(|name| path.join(name).exists())
        {
            return Err(RunError::Foreign { path: path.to_owned(), name });
        }
        let lock = lock(path)?;
        let config = serde_json::to_vec_pretty(settings).expect("values of our own");
        let folder = Self { path: path.to_owned(), run: content_hash(&config), _lock: lock };
        if start == Start::New && folder.file(RESULT).exists() {
            return Err(RunError::Complete(path.to_owned()));
        }
        if start == Start::New && folder.file(CHECKPOINT).exists() {
            return Err(RunError::Unfinished(path.to_owned()));
        }
        if start == Start::Resume && folder.file(CONFIG).exists() {
            folder.compare(settings)?;
            let state = folder.state(job)?;
            folder.cut_log(state.at.epoch)?;
            return Ok((folder, state));
        }
        // The checkpoint goes first: whatever is cut off here, no state is left beside settings that are not its own.
        for name in [CHECKPOINT, RESULT, REPORT, LOG] {
            folder.remove(name)?;
        }
        folder.write(CONFIG, &config)?;
        Ok((folder, State::initial(job)))
    }

    /// Keeps the state; the former one stays until it is whole.
    pub fn keep(&self, state: &State) -> Result<(), RunError> {
        self.write(CHECKPOINT, &checkpoint::write(state, &self.run))
    }

    /// Adds a line to the log.
    pub fn log(&self, line: &impl Serialize) -> Result<(), RunError> {
        let path = self.file(LOG);
        let line = serde_json::to_string(line).expect("numbers and names");
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).map_err(io_error(&path))
    }

    /// The page that shows the run.
    pub fn report(&self, html: &str) -> Result<(), RunError> {
        self.write(REPORT, html.as_bytes())
    }

    /// Says what came out: the run is complete.
    pub fn complete(&self, result: &impl Serialize) -> Result<(), RunError> {
        self.write(RESULT, &serde_json::to_vec_pretty(result).expect("numbers and names"))
    }

    /// Whether it was said what came out.
    pub fn is_complete(&self) -> bool {
        self.file(RESULT).exists()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        let path = self.file(name);
        replace(&path, bytes).map_err(|error| io_error(&path)(error.source))
    }

    fn remove(&self, name: &str) -> Result<(), RunError> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&path)(error)),
            _ => Ok(()),
        }
    }

    fn compare(&self, settings: &Value) -> Result<(), RunError> {
        let former = settings_in(&self.path).unwrap_or_default();
        let mut found = Vec::new();
        differences("", &former, settings, &mut found);
        match found.is_empty() {
            true => Ok(()),
            false => Err(RunError::OtherSettings { path: self.path.clone(), differences: found.join(", ") }),
        }
    }

    fn state(&self, job: &Job) -> Result<State, RunError> {
        let (path, bytes_max) = (self.file(CHECKPOINT), checkpoint::bytes_max(job));
        let bytes = match read(&path, bytes_max) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::initial(job)),
            bytes => bytes.map_err(io_error(&path))?,
        };
        let state = match bytes {
            Some(bytes) => checkpoint::read(&bytes, &self.run, job),
            None => Err(CheckpointError::TooLarge(bytes_max)),
        };
        state.map_err(|source| RunError::Checkpoint { path, source })
    }

    /// Leaves the lines of complete epochs: a line is written before the checkpoint that it belongs to.
    fn cut_log(&self, epochs: usize) -> Result<(), RunError> {
        let path = self.file(LOG);
        let text = match read(&path, LOG_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            text => text.map_err(io_error(&path))?.unwrap_or_default(),
        };
        let text = String::from_utf8_lossy(&text);
        let kept: String = text.lines().take(epochs).map(|line| format!("{line}\n")).collect();
        self.write(LOG, kept.as_bytes())
    }
}

/// Whether the folder has a run, of whatever version.
pub fn is_run(path: &Path) -> bool {
    settings_in(path).is_some()
}

/// Whether a run's folder has a file of that name for itself.
pub fn is_own(name: &OsStr) -> bool {
    name == LOCK || NAMES.iter().any(|own| name == *own)
}

/// A run's settings, if the folder has them and not another thing's.
fn settings_in(path: &Path) -> Option<Value> {
    let text = read(&path.join(CONFIG), CONFIG_BYTES_MAX).ok()??;
    let settings: Value = serde_json::from_slice(&text).ok()?;
    settings["tool"].as_str()?.starts_with("manylens ").then_some(settings)
}

/// Settings have at most a name and a weight for each of 32,768 classes.
const CONFIG_BYTES_MAX: u64 = 64 << 20;

/// A kilobyte for each of a hundred thousand epochs.
const LOG_BYTES_MAX: u64 = 100 << 20;

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::Io { path: path.to_owned(), source }
}

/// The lock that the system frees with the process.
fn lock(folder: &Path) -> Result<File, RunError> {
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(RunError::Locked(folder.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(io_error(&path)(source)),
    }
}

/// Of a value that may have many numbers, what a sentence can hold.
fn short(value: &Value) -> String {
    const CHARS_MAX: usize = 80;
    let text = value.to_string();
    if text.chars().count() > CHARS_MAX { text.chars().take(CHARS_MAX).chain(['…']).collect() } else { text }
}

/// Every leaf that differs, as `recipe.seed: 1, now 2`.
fn differences(place: &str, former: &Value, now: &Value, found: &mut Vec<String>) {
    match (former, now) {
        (Value::Object(former), Value::Object(now)) => {
            let others = now.keys().filter(|name| !former.contains_key(*name));
            for name in former.keys().chain(others) {
                let inner = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                let value = |object: &serde_json::Map<_, Value>| object.get(name).cloned().unwrap_or_default();
                differences(&inner, &value(former), &value(now), found);
            }
        }
        (former, now) if former != now => found.push(format!("{place}: {}, now {}", short(former), short(now))),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::train::testing;

    fn settings(seed: u64) -> Value {
        json!({"tool": "manylens 0", "recipe": {"seed": seed, "flip": false}, "data": {"train": 8}})
    }

    #[test]
    fn a_run_is_gone_on_with_only_when_that_is_asked_for() {
        let (folder, job) = (tempfile::tempdir().expect("a folder"), testing::job(|_| ()));
        let open = |start, seed| RunFolder::open(folder.path(), &settings(seed), start, &job);
        let (run, mut state) = open(Start::Resume, 1).expect("there is none yet");
        state.parameters[0] += 0.5;
        run.keep(&state).expect("kept");
        assert!(matches!(open(Start::Resume, 1), Err(RunError::Locked(_))));
        drop(run);
        assert!(matches!(open(Start::New, 1), Err(RunError::Unfinished(_))));
        let error = open(Start::Resume, 2).err().expect("other settings").to_string();
        assert!(error.contains("(recipe.seed: 1, now 2)"), "{error}");
        let (run, found) = open(Start::Resume, 1).expect("the run");
        assert_eq!(found, state);
        run.complete(&json!({})).expect("written");
        drop(run);
        assert!(matches!(open(Start::New, 2), Err(RunError::Complete(_))));
        assert_eq!(open(Start::Overwrite, 2).expect("replaced").1, State::initial(&job));
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let (folder, job) = (tempfile::tempdir().expect("a folder"), testing::job(|_| ()));
        let config = folder.path().join(CONFIG);
        fs::write(&config, r#"{"model_type": "dinov2"}"#).expect("written");
        for start in [Start::New, Start::Resume, Start::Overwrite] {
            let error = RunFolder::open(folder.path(), &settings(1), start, &job).err().expect("refused").to_string();
            assert!(error.contains("there is config.json, and no config.json of a run explains it"), "{error}");
        }
        assert_eq!(fs::read_to_string(config).expect("there"), r#"{"model_type": "dinov2"}"#);
    }

    #[test]
    fn the_log_has_a_line_for_each_epoch_that_is_kept() {
        let (folder, job) = (tempfile::tempdir().expect("a folder"), testing::job(|_| ()));
        let (run, _) = RunFolder::open(folder.path(), &settings(1), Start::New, &job).expect("a run");
        run.log(&json!({"epoch": 0})).expect("written");
        drop(run);
        RunFolder::open(folder.path(), &settings(1), Start::Resume, &job).expect("the run");
        assert_eq!(fs::read_to_string(folder.path().join(LOG)).expect("a log"), "");
    }
}
