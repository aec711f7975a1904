//! The command line: the only room that names clap and reads the environment.
//!
//! One file per subcommand holds its flags and turns them into the typed arguments of `commands`. Every flag also has
//! an environment variable: `--cache-dir` is `MANYLENS_CACHE_DIR`.
#![forbid(unsafe_code)]

mod backbone;
mod bench;
mod classify;
mod compare;
mod engine;
mod environment;
mod eval;
mod export;
mod given;
mod import;
mod inspect;
mod serve;
mod train;
mod tune;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands;

/// One frozen Vision Transformer, many tasks: serve thousands of tiny image classifiers from one backbone.
#[derive(Parser)]
#[command(name = "manylens", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Subcommands, in the order of the help.
#[derive(Subcommand)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Classify(classify::ClassifyArgs),
    Compare(compare::CompareArgs),
    Inspect(inspect::Args),
    Eval(Box<eval::Args>),
    Import(import::Args),
    Export(export::Args),
    Train(Box<train::Args>),
    Tune(Box<tune::Args>),
    Bench(Box<bench::Args>),
}

/// Runs the command line; the exit status is 0, 1 when the command failed, 2 when it was called wrongly.
pub fn main() -> ExitCode {
    let mut command = environment::with_variables(Cli::command());
    let matches = command.get_matches_mut();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command.run(&command, &matches) {
        Ok(_) if crate::out::failed() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => {
            eprintln!("manylens: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn run(self, command: &clap::Command, matches: &ArgMatches) -> Result<ExitCode, commands::Error> {
        // Every subcommand is required, so there are matches of it.
        let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
        match self {
            Self::Serve(args) => serve::run(*args, command, matches),
            Self::Classify(args) => classify::run(args),
            Self::Compare(args) => compare::run(args),
            Self::Export(args) => commands::export::run(&args.into()),
            Self::Inspect(args) => commands::inspect::run(&args.into()),
            Self::Import(args) => import::run(args),
            Self::Bench(args) => bench::run(*args),
            Self::Train(args) => train::run(*args),
            Self::Tune(args) => tune::run(*args),
            Self::Eval(args) => Ok(commands::eval::run(&args.typed()?)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        environment::with_variables(Cli::command()).debug_assert();
    }
}
