//! Commands on the device, with a deadline.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

/// The most of a command's output that is kept.
const MOST_OUTPUT: u64 = 4096;

/// Runs a program and gives what it printed, cut at 4096 bytes.
///
/// # Errors
/// When it does not begin, does not end in time, or ends with anything but 0.
pub async fn run(program: &str, arguments: &[&str], deadline: Duration) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("{program} does not run: {error}"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (said, complained, status) = tokio::join!(beginning(out), beginning(err), child.wait());
        (status, said, complained)
    };
    let Ok((status, said, complained)) = timeout(deadline, work).await else {
        return Err(format!("{program} did not end within {} s", deadline.as_secs()));
    };
    let status = status.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&said).into_owned();
    match status.success() {
        true => Ok(said),
        false => {
            let complained = String::from_utf8_lossy(&complained);
            let told = if complained.trim().is_empty() { said.trim() } else { complained.trim() };
            Err(format!("{status}: {told}"))
        }
    }
}

/// The beginning of what a command prints.
async fn beginning(printed: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(printed) = printed {
        let mut printed = printed.take(MOST_OUTPUT);
        let _ = printed.read_to_end(&mut kept).await;
        // Whatever more there is must go somewhere, or the command would wait.
        let _ = tokio::io::copy(&mut printed.into_inner(), &mut tokio::io::sink()).await;
    }
    kept
}

/// Runs a line in a shell.
///
/// # Errors
/// As [`run`].
pub async fn line(line: &str, deadline: Duration) -> Result<String, String> {
    run("sh", &["-c", line], deadline).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_ends_well_or_says_why_not() {
        let deadline = Duration::from_secs(20);
        assert_eq!(line("echo hi", deadline).await, Ok("hi\n".to_owned()));
        assert_eq!(line("echo no >&2; exit 3", deadline).await, Err("exit status: 3: no".to_owned()));
        let long = line("yes | head -c 100000", deadline).await.unwrap();
        assert_eq!(long.len(), 4096);
        let error = line("sleep 60", Duration::from_millis(50)).await.unwrap_err();
        assert!(error.contains("did not end"), "{error}");
    }
}
