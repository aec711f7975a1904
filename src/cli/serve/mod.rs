//! `manylens serve`: flags to checked settings.

mod args;
mod check;

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

pub use args::ServeArgs;
use check::KeyVariables;

use super::environment;
use crate::commands;
use crate::config::{Setting, Settings, Source, listing};

/// Variables that carry keys. They have no flag: a flag's value can be read by every user of the machine.
pub const KEY_VARIABLES: [&str; 2] = ["MANYLENS_ADMIN_KEY", "MANYLENS_INFERENCE_KEY"];

/// Serves until it is told to stop, or prints the settings.
pub fn run(args: ServeArgs, command: &Command, matches: &ArgMatches) -> Result<ExitCode, commands::Error> {
    let print = args.print_config;
    let [admin, inference] = KEY_VARIABLES.map(|name| std::env::var(name).ok().filter(|key| !key.is_empty()));
    let present = [admin.is_some(), inference.is_some()];
    let checked = args.check(KeyVariables { admin, inference });
    if print {
        print!("{}", listing(&describe(command, matches, checked.as_ref().ok(), present)));
        checked?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = checked?;
    commands::serve::run(settings, &environment::unknown(command))
}

/// Every flag with its value and source, and the keys that the environment gives.
fn describe(command: &Command, matches: &ArgMatches, settings: Option<&Settings>, keys: [bool; 2]) -> Vec<Setting> {
    let serve = command.find_subcommand("serve").into_iter().flat_map(Command::get_arguments);
    let flags = serve.filter_map(|arg| {
        let name = arg.get_long().filter(|long| !matches!(*long, "help" | "version" | "print-config"))?;
        let id = arg.get_id().as_str();
        let value = matches.get_raw(id).map(|raw| raw.map(|v| v.to_string_lossy()).collect::<Vec<_>>().join(","));
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Source::Flag,
            Some(ValueSource::EnvVariable) => Source::Variable(environment::variable(name)),
            Some(_) => Source::Default,
            None => Source::Unset,
        };
        Some(match (value, settings.and_then(|settings| computed(name, settings))) {
            (None, Some(value)) => Setting { name: name.into(), value, source: Source::Default },
            (value, _) => Setting { name: name.into(), value: value.unwrap_or_default(), source },
        })
    });
    let keys = KEY_VARIABLES.iter().zip(keys).map(|(variable, present)| Setting {
        name: variable.trim_start_matches(environment::PREFIX).to_lowercase().replace('_', "-"),
        value: if present { "***".into() } else { String::new() },
        source: if present { Source::Variable((*variable).into()) } else { Source::Unset },
    });
    flags.chain(keys).collect()
}

/// Defaults that depend on the machine or on another setting.
fn computed(name: &str, settings: &Settings) -> Option<String> {
    match name {
        "threads" => Some(settings.model.engine_settings.threads.to_string()),
        "decode-threads" => Some(settings.serving.decode_threads.to_string()),
        _ => None,
    }
}
