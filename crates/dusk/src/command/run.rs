//! `dusk run`: the node itself, until it is stopped. Killed at any point it goes on where it was.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;

use super::Given;
use crate::agent::{Agent, Settings};
use crate::seat::directory;

/// Where a node listens if nobody says.
const LISTEN: &str = "[::]:4747";

/// Runs the node.
///
/// # Errors
/// When it has no fleet, or its files or sockets fail.
pub fn run(given: &Given) -> anyhow::Result<ExitCode> {
    let listen: SocketAddr =
        given.value("listen").unwrap_or(LISTEN).parse().context("--listen: ADDRESS:PORT is expected")?;
    let root = given.value("root").unwrap_or("/").into();
    // A port alone is one of this machine.
    let metrics =
        given.value("metrics").map(|at| if at.contains(':') { at.to_owned() } else { format!("127.0.0.1:{at}") });
    let metrics = metrics.map(|at| at.parse()).transpose().context("--metrics: [ADDRESS:]PORT is expected")?;
    Agent::open(&Settings { dir: directory(given).to_owned(), listen, root, metrics })?.run()?;
    Ok(ExitCode::SUCCESS)
}
