use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::serve::KEY_VARIABLES;
use crate::client::Question;
use crate::commands::{self, classify};

/// Ask a running server about pictures
///
/// The exit status is 0 when every picture has an answer, else 1.
#[derive(Args)]
pub struct ClassifyArgs {
    /// Picture files
    #[arg(value_name = "PICTURE", required = true)]
    pictures: Vec<PathBuf>,
    /// The task, or a version of it
    #[arg(long, value_name = "TASK[@VERSION]")]
    task: String,
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Classes listed for each picture
    #[arg(long, value_name = "N", default_value_t = 3)]
    top_k: usize,
    /// File whose first line is the key [default: MANYLENS_INFERENCE_KEY, if set]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Time for each picture, waiting for a busy server included
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    timeout_ms: u64,
    /// For a program instead of a person
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub fn run(args: ClassifyArgs) -> Result<ExitCode, commands::Error> {
    let (task, version) = match args.task.split_once('@') {
        None => (args.task.clone(), None),
        Some((task, number)) => {
            let version = number.parse().map_err(|_| commands::Error::Version(number.to_owned()))?;
            (task.to_owned(), Some(version))
        }
    };
    classify::run(&classify::Arguments {
        pictures: args.pictures,
        question: Question { task, version, top_k: args.top_k, logits: false },
        url: args.url,
        key: inference_key(args.key_file)?,
        timeout: Duration::from_millis(args.timeout_ms),
        json: args.json,
    })
}

/// The key that clients show: the file's first, or the environment's.
pub fn inference_key(file: Option<PathBuf>) -> Result<Option<String>, commands::Error> {
    match file {
        Some(path) => first_line(path).map(Some),
        None => Ok(std::env::var(KEY_VARIABLES[1]).ok().filter(|key| !key.is_empty())),
    }
}

/// A key file's first key.
pub fn first_line(path: PathBuf) -> Result<String, commands::Error> {
    match crate::config::read_keys(&path)?.into_iter().next() {
        Some(key) => Ok(key.0),
        None => Err(crate::config::KeyFileError::Empty { path }.into()),
    }
}
