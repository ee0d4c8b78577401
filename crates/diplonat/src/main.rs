//! `diplonat`: takes the command line apart and runs the command that it names.

use std::process::ExitCode;

fn main() -> ExitCode {
    diplonat::command::execute()
}
