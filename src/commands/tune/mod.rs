//! `manylens tune`: successive halving (Jamieson and Talwalkar 2016) over learning rate, decay and dropout.

mod trials;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use serde::Serialize;

use super::file::{beside, spare};
use super::train::{self, Error, Interrupt, Outcome, places, train};
use crate::durable::{prepare, replace};
use crate::table::table;
use crate::train::data;
use crate::train::run::{Start, is_run};
use crate::train::{FitOn, LearnError, SelectBy};
use trials::{Trial, best, draw, rungs};

/// What `manylens tune` needs to know.
pub struct Args {
    /// What is trained; its recipe is the first trial, its file the best one's.
    pub train: train::Args,
    /// Trials of the first rung.
    pub trials: NonZeroUsize,
}

/// A trial on a rung.
#[derive(Clone, Serialize)]
struct Tried {
    /// Its number, from 1.
    trial: usize,
    epochs: usize,
    #[serde(flatten)]
    settings: Trial,
    /// On the validation split, by the recipe's measure, of the best epoch; none if it diverged.
    score: Option<f64>,
}

/// Tries, prints a table, and writes the adapter of the best trial of the last rung. Every trial is a run of its own in
/// the run's folder: what was stopped goes on, what is complete is not trained again.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let base = &args.train;
    let folder = base.run_dir.clone().unwrap_or_else(|| beside(&base.out, "tune"));
    places::check(&base.out, &folder, &base.data)?;
    if is_run(&folder) {
        return Err(Error::NoTuning(folder));
    }
    if data::read(&base.data)?.validation.is_empty() {
        return Err(Error::NoValidation);
    }
    spare(&base.out, base.start != Start::New)?;
    prepare(&base.out)?;
    let interrupt = Interrupt::listen().map_err(Error::Signals)?;
    std::fs::create_dir_all(&folder).map_err(|source| Error::Write { path: folder.clone(), source })?;
    let trials = draw(args.trials.get(), &base.recipe);
    let (mut left, mut tried): (Vec<usize>, Vec<Tried>) = ((0..trials.len()).collect(), Vec::new());
    let (mut winner, mut measure) = (None, base.recipe.select_by);
    // The first trial asks the server, for all.
    let mut asks = base.publish.clone();
    let rungs = rungs(trials.len(), base.recipe.schedule.epochs);
    eprintln!("{}", plan(&rungs));
    for (epochs, count) in rungs {
        left.truncate(count);
        let mut scores = Vec::new();
        for &index in &left {
            let out = folder.join(format!("{}-{epochs}.safetensors", index + 1));
            eprintln!("trial {} of {}, {epochs} epochs", index + 1, trials.len());
            let trial = train::Args { out, publish: asks.take(), ..base.clone() };
            let Some(scored) = score(trial, &trials[index], epochs, &interrupt)? else {
                return Ok(ExitCode::from(train::INTERRUPTED));
            };
            measure = scored.map(|(measure, _)| measure).or(measure);
            let score = scored.map(|(_, score)| score);
            tried.push(Tried { trial: index + 1, epochs, settings: trials[index], score });
            scores.push(score);
        }
        left = best(&scores, left.len()).into_iter().map(|place| left[place]).collect();
        let adapter = |&index: &usize| folder.join(format!("{}-{epochs}.safetensors", index + 1));
        winner = left.first().filter(|_| scores.iter().any(Option::is_some)).map(adapter);
    }
    print(args, &tried, measure);
    let adapter = winner.ok_or(Error::AllDiverged)?;
    let write = |source| Error::Write { path: args.train.out.clone(), source };
    let bytes = std::fs::read(&adapter).map_err(write)?;
    replace(&args.train.out, &bytes).map_err(|error| write(error.source))?;
    eprintln!("{} is the best trial's adapter, {}", args.train.out.display(), adapter.display());
    if let Some(publish) = &args.train.publish {
        eprintln!("{}", publish.send(&bytes)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// `9 trials of 4 epochs, then the best 3 of 10, then the best 1 of 30`
fn plan(rungs: &[(usize, usize)]) -> String {
    let rung = |(place, (epochs, count)): (usize, &(usize, usize))| match place {
        0 => format!("{count} trials of {epochs} epochs"),
        _ => format!("then the best {count} of {epochs}"),
    };
    rungs.iter().enumerate().map(rung).collect::<Vec<_>>().join(", ")
}

/// The trial's score and what it is, if it has one; none when it was stopped.
fn score(
    mut args: train::Args,
    trial: &Trial,
    epochs: usize,
    interrupt: &Interrupt,
) -> Result<Option<Option<(SelectBy, f64)>>, Error> {
    args.recipe = trial.recipe(&args.recipe);
    args.recipe.schedule = args.preset.recipe(epochs).schedule;
    args.recipe.fit_on = FitOn::Train;
    args.run_dir = None;
    if args.start != Start::Overwrite {
        args.start = if is_run(&args.run_dir()) { Start::Resume } else { Start::New };
    }
    match train(&args, interrupt) {
        Ok(None) => Ok(None),
        Ok(Some(written)) => {
            let Outcome { best, measure, .. } = written.outcome;
            let scores = best.and_then(|record| record.validation).ok_or(Error::NoValidation)?;
            Ok(Some(Some((measure, scores.selected(measure)))))
        }
        Err(Error::Learn(LearnError::NotFinite { .. })) => Ok(Some(None)),
        Err(error) => Err(error),
    }
}

fn print(args: &Args, tried: &[Tried], measure: Option<SelectBy>) {
    let mut tried = tried.to_vec();
    tried.sort_by(|a, b| (b.epochs, b.score).partial_cmp(&(a.epochs, a.score)).unwrap_or(std::cmp::Ordering::Equal));
    if args.train.json {
        println!("{}", serde_json::to_string_pretty(&tried).expect("numbers and names"));
        return;
    }
    let measure = measure.map_or("score", SelectBy::words);
    let row = |Tried { trial, epochs, settings, score }: &Tried| {
        let Trial { learning_rate, weight_decay, dropout } = settings;
        let score = score.map_or("diverged".to_owned(), |score| format!("{:.2} %", 100.0 * score));
        let settings = [format!("{learning_rate:e}"), format!("{weight_decay:e}"), format!("{dropout}")];
        [trial.to_string(), epochs.to_string()].into_iter().chain(settings).chain([score]).collect()
    };
    let titles = ["trial", "epochs", "--lr", "--weight-decay", "--dropout", measure];
    println!("{}", table(&titles, &tried.iter().map(row).collect::<Vec<Vec<String>>>()));
}
