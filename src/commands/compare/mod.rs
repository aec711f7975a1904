//! `manylens compare`: what would change if the other version answered?

mod comparison;
mod html;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Error;
use super::pictures::Picture;
use crate::client::Client;
use crate::table::table;
use comparison::{Comparison, Pair};

/// What `manylens compare` needs to know.
pub struct Arguments {
    /// The task.
    pub task: String,
    /// The version that answers now, and the one that might.
    pub versions: [u64; 2],
    /// A folder, or a list with a path and perhaps a class index on each line.
    pub pictures: PathBuf,
    /// `http://host:port`
    pub url: String,
    /// What the server wants to see.
    pub key: Option<String>,
    /// For each picture.
    pub timeout: Duration,
    /// Decisions that may differ before the exit status says so.
    pub flips_max: Option<usize>,
    /// Where a page with the pictures is written.
    pub html: Option<PathBuf>,
    /// For a program instead of a person.
    pub json: bool,
}

/// A page that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct HtmlError {
    path: PathBuf,
    source: std::io::Error,
}

/// Compares and prints. The exit status is 1 when more decisions differ than allowed, or a picture has no answer.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let [a, b] = arguments.versions;
    if a == b {
        return Err(Error::SameVersion(a));
    }
    let pictures = super::pictures::find(&arguments.pictures)?;
    let comparison = Comparison::of(arguments.versions, &ask_all(arguments, &pictures));
    if let Some(path) = &arguments.html {
        let page = html::page(&arguments.task, &comparison);
        std::fs::write(path, page).map_err(|source| HtmlError { path: path.clone(), source })?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&comparison).expect("a comparison is plain data"));
    } else {
        println!("{}", people(&comparison));
    }
    let too_many = arguments.flips_max.is_some_and(|max| comparison.flips > max);
    let bad = too_many || !comparison.failed.is_empty();
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn ask_all(arguments: &Arguments, pictures: &[Picture]) -> Vec<Pair> {
    let client = Client::new(&arguments.url, arguments.key.clone(), arguments.timeout);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} pictures, {eta} left").expect("a valid template");
    let bar = ProgressBar::new(pictures.len() as u64).with_style(style);
    let ask = |path: &Path| {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        client.classify_by_two(&arguments.task, arguments.versions, &bytes).map_err(|error| error.to_string())
    };
    let pair = |picture: &Picture| {
        let answers = ask(&picture.path);
        bar.inc(1);
        Pair { path: picture.path.display().to_string(), class: picture.class, answers }
    };
    let pairs = pictures.iter().map(pair).collect();
    bar.finish_and_clear();
    pairs
}

fn people(comparison: &Comparison) -> String {
    let [a, b] = comparison.versions;
    let mut text = vec![comparison.summary()];
    if !comparison.flips_by_labels.is_empty() {
        let row = |f: &comparison::Flips| vec![f.from.clone(), f.to.clone(), f.count.to_string()];
        let rows: Vec<_> = comparison.flips_by_labels.iter().map(row).collect();
        text.push(table(&[&format!("version {a} says"), &format!("version {b} says"), "pictures"], &rows));
    }
    if !comparison.worst.is_empty() {
        let row = |w: &comparison::Change| {
            vec![w.picture.clone(), w.from.clone(), w.to.clone(), format!("{:.1} %", 100.0 * w.change)]
        };
        let rows: Vec<_> = comparison.worst.iter().map(row).collect();
        text.push(table(&["picture", &format!("version {a}"), &format!("version {b}"), "probability moved"], &rows));
    }
    text.extend(comparison.failed.iter().map(|f| format!("{}: {}", f.picture, f.error)));
    text.join("\n")
}
