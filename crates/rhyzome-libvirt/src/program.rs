//! Runs the host's programs (`ip`, `nft`, `qemu-img`, `genisoimage`): bounded in time, with their words in the error.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// None of them takes more than a fraction of a second on a machine that is well.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a program to its end and gives what it printed.
pub async fn run<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<String> {
    run_with_input(name, arguments, "").await
}

/// The same for a program that reads `input`.
pub async fn run_with_input<A: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = A>,
    input: &str,
) -> anyhow::Result<String> {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("{name} is not installed"),
        other => other.with_context(|| format!("cannot start {name}"))?,
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why by itself.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = timeout(DEADLINE, child.wait_with_output())
        .await
        .with_context(|| format!("{name} did not end within {} s", DEADLINE.as_secs()))?
        .with_context(|| format!("cannot wait for {name}"))?;
    if !output.status.success() {
        bail!("{name}: {} ({})", String::from_utf8_lossy(&output.stderr).trim(), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed what is no text"))
}
