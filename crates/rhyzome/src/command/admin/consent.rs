//! Whether a person agrees to what cannot be taken back.

use std::io::IsTerminal;

use anyhow::{Context, bail};

/// Whether to ask.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Consent {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Asks at the terminal, unless `--yes` was said; `otherwise` tells who does not agree where things stand. Where there
    /// is no terminal, nothing is done without being told so.
    pub fn ask(self, question: &str, otherwise: &'static str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            bail!("{question}? say --yes, as there is no terminal to ask at");
        }
        eprint!("{question}? [y/N] ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).context("no answer")?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => bail!(otherwise),
        }
    }
}
