//! `dusk lab`: a fleet to play with, on this machine.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::{Given, print};
use crate::lab::{self, DIRECTORY, End, Lab};

/// Brings a lab up, until Ctrl-C; or takes one away that was killed.
///
/// # Errors
/// When it cannot be made.
pub fn run(given: &Given) -> anyhow::Result<ExitCode> {
    let dir = Path::new(DIRECTORY);
    if given.has("remove") {
        lab::remove(dir)?;
        return print("there is no lab\n");
    }
    let nodes = given.optional("nodes").map_or(Ok(5), str::parse).context("nodes: a number is expected")?;
    let end = End::listen()?;
    let lab = Lab::up(dir, nodes)?;
    print(&lab.introduction())?;
    end.wait();
    eprintln!("the lab ends");
    drop(lab);
    Ok(ExitCode::SUCCESS)
}
