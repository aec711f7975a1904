use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::classify::inference_key;
use crate::commands::{self, compare};

/// Compare two versions of a task on the same pictures, through a running server
///
/// What would change if the other version answered: agreement, decisions that differ, the pictures that change most.
/// Both versions see each picture in one call. The exit status is 1 when more decisions differ than --max-flips allows,
/// or a picture has no answer.
#[derive(Args)]
pub struct CompareArgs {
    /// A folder of pictures, or a list with a picture's path and perhaps its class index on each line
    #[arg(value_name = "DIR|LIST")]
    pictures: PathBuf,
    /// The task
    #[arg(long)]
    task: String,
    /// The version that answers now
    #[arg(long, value_name = "VERSION")]
    a: u64,
    /// The version that might
    #[arg(long, value_name = "VERSION")]
    b: u64,
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Decisions that may differ before the exit status is 1 [default: any number]
    #[arg(long, value_name = "N")]
    max_flips: Option<usize>,
    /// Also write one HTML file with the pictures
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
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
pub fn run(args: CompareArgs) -> Result<ExitCode, commands::Error> {
    compare::run(&compare::Arguments {
        task: args.task,
        versions: [args.a, args.b],
        pictures: args.pictures,
        url: args.url,
        key: inference_key(args.key_file)?,
        timeout: Duration::from_millis(args.timeout_ms),
        flips_max: args.max_flips,
        html: args.html,
        json: args.json,
    })
}
