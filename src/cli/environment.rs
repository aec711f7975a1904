use clap::{Arg, Command};

use super::serve::KEY_VARIABLES;

/// The prefix of every variable that we read.
pub const PREFIX: &str = "MANYLENS_";

/// Gives every long flag of every subcommand its environment variable, so that none can be forgotten.
pub fn with_variables(command: Command) -> Command {
    command.mut_args(with_variable).mut_subcommands(with_variables)
}

fn with_variable(arg: Arg) -> Arg {
    match arg.get_long() {
        None | Some("help" | "version") => arg,
        // Compare's `--a` and `--b`: names too short to mean anything in an environment.
        Some(long) if long.len() == 1 => arg,
        Some(long) => {
            let name = variable(long);
            // Clap keeps names for the life of the process, and there is one command line per process.
            arg.env(&*name.leak())
        }
    }
}

/// `cache-dir` to `MANYLENS_CACHE_DIR`.
pub fn variable(long: &str) -> String {
    format!("{PREFIX}{}", long.replace('-', "_").to_uppercase())
}

/// Variables of the environment that look like ours and mean nothing to any subcommand, sorted.
pub fn unknown(command: &Command) -> Vec<String> {
    let mut names: Vec<String> =
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|n| n.starts_with(PREFIX)).collect();
    names.retain(|name| !KEY_VARIABLES.contains(&name.as_str()) && !knows(command, name));
    names.sort();
    names
}

fn knows(command: &Command, name: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_env().is_some_and(|env| env == name))
        || command.get_subcommands().any(|command| knows(command, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_flags_get_a_variable() {
        let nested =
            Command::new("import").subcommand(Command::new("official").arg(Arg::new("out").long("image-size")));
        let nested = with_variables(Command::new("manylens").subcommand(nested));
        let official = nested.find_subcommand("import").and_then(|c| c.find_subcommand("official")).expect("there");
        let arg = official.get_arguments().next().expect("one");
        assert_eq!(arg.get_env(), Some("MANYLENS_IMAGE_SIZE".as_ref()));
        assert!(knows(&nested, "MANYLENS_IMAGE_SIZE"));
        assert!(!knows(&nested, "MANYLENS_IMAGE_SIZES"));
    }
}
