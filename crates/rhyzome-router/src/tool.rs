//! The programs that configure the machine: `ip`, `nft`, `wg`. They inherit the namespaces of the thread that runs them.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use crate::command::PATH;

/// Why a tool did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It could not be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("{program} {arguments}: {message}")]
    Failed {
        /// The program.
        program: &'static str,
        /// What it was told.
        arguments: String,
        /// What it said.
        message: String,
    },
}

/// Runs a tool and gives back what it printed.
///
/// # Errors
/// When it cannot be run, or fails.
pub fn run(program: &'static str, arguments: &[&str]) -> Result<String, ToolError> {
    run_with(program, arguments, "")
}

/// Runs a tool that reads `input`.
///
/// # Errors
/// When it cannot be run, or fails.
pub fn run_with(program: &'static str, arguments: &[&str], input: &str) -> Result<String, ToolError> {
    let failed = |source| ToolError::Run { program, source };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // Beside the reading, so that neither side waits for the other. One that does not read all is no failure.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    });
    let output = output.map_err(failed)?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ToolError::Failed { program, arguments: arguments.join(" "), message });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
