//! One function per subcommand; each takes typed arguments and answers with a typed error.
