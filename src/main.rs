//! The `manylens` binary.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    manylens::cli::main()
}
