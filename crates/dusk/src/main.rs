//! `dusk`: takes the command line apart and runs the command that it names.

use std::process::ExitCode;

fn main() -> ExitCode {
    dusk::command::execute(std::env::args_os().skip(1))
}
