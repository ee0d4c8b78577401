//! Asking before something is destroyed.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::Args;

use crate::failure::WrongUsage;
use crate::output::say;

/// Whether to ask.
#[derive(Args, Clone, Copy, Debug)]
pub struct Consent {
    /// Do it without asking
    #[arg(long, short)]
    pub yes: bool,
}

impl Consent {
    /// Says what will be done and asks whether it should; fails where the answer is no or nobody can be asked.
    pub fn ask(self, deeds: &[String]) -> anyhow::Result<()> {
        deeds.iter().for_each(|deed| say(deed));
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(WrongUsage("nobody is there to ask: say --yes if this is meant".to_owned()).into());
        }
        let mut stderr = io::stderr().lock();
        write!(stderr, "Go ahead? [y/N] ").and_then(|()| stderr.flush()).context("cannot ask")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => bail!("nothing was changed"),
        }
    }
}
