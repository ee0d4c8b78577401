//! The kernel's tools: run with a deadline, and what they say when they fail.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// How long a tool may take. They take milliseconds, unless the machine is short of everything.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why a tool did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It cannot be run.
    #[error("{tool} cannot be run; is the package {tool} installed?")]
    Run {
        /// Its name.
        tool: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It takes too long.
    #[error("{tool} takes too long")]
    Slow {
        /// Its name.
        tool: &'static str,
    },
    /// It refuses.
    #[error("{tool} {arguments}: {said}")]
    Failed {
        /// Its name.
        tool: &'static str,
        /// What it was told.
        arguments: String,
        /// What it said.
        said: String,
    },
    /// It says what cannot be understood.
    #[error("{tool} says what cannot be read: {problem}")]
    Unreadable {
        /// Its name.
        tool: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// Runs a tool with `input`, and gives what it wrote.
pub(super) async fn run(tool: &'static str, arguments: &[&str], input: &str) -> Result<String, ToolError> {
    let failed = |source| ToolError::Run { tool, source };
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take().ok_or_else(|| failed(io::Error::other("it has no input")))?;
    let talk = async {
        // One that ends before it has read everything says why.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = timeout(DEADLINE, talk).await.map_err(|_| ToolError::Slow { tool })?.map_err(failed)?;
    judge(tool, arguments, &output)
}

fn judge(tool: &'static str, arguments: &[&str], output: &Output) -> Result<String, ToolError> {
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said =
                said.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect::<Vec<_>>().join(" ");
            Err(ToolError::Failed { tool, arguments: arguments.join(" "), said })
        }
    }
}
