//! The command line: the only file that names clap and reads the environment.
