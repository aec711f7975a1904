use std::num::NonZeroUsize;
use std::process::ExitCode;

use super::train;
use crate::commands::{self, tune};
use crate::train::FitOn;

/// Find learning rate, decay and dropout for a task by successive halving on its validation split
///
/// The recipe's own values are the first trial; a third goes on with up to three times the epochs, the last ones with
/// --epochs (with few epochs there is one rung); of equal scores the first trial is taken. Every trial is a run in
/// --run-dir, by default the adapter's name with .tune, so that tuning which was stopped goes on when it is called again.
/// --out gets the best trial's adapter.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    /// Trials of the first rung
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(9).expect("nine"))]
    trials: NonZeroUsize,

    #[command(flatten)]
    train: train::Args,
}

/// Tunes.
pub fn run(args: Args) -> Result<ExitCode, commands::Error> {
    if args.train.recipe.fit_on == Some(FitOn::All) {
        let said = "--fit-on all leaves nothing to compare trials on: tune without it, and train with what was found";
        return Err(commands::Error::Conflict(said));
    }
    Ok(tune::run(&tune::Args { train: args.train.typed()?, trials: args.trials })?)
}
