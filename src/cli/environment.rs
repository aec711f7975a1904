use clap::{Arg, Command};

/// The prefix of every variable that we read.
pub const PREFIX: &str = "MANYLENS_";

/// Gives every long flag of every subcommand its environment variable, so that none can be forgotten.
pub fn with_variables(command: Command) -> Command {
    command.mut_args(with_variable).mut_subcommands(with_variables)
}

fn with_variable(arg: Arg) -> Arg {
    match arg.get_long() {
        None | Some("help" | "version") => arg,
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
    }
}
