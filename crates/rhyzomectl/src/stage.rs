//! The stages of long work on this machine: a live line on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::say;

/// How often the live line moves.
const TICK: Duration = Duration::from_millis(120);

/// Work that goes through stages.
pub struct Stages(Option<ProgressBar>);

impl Stages {
    /// No stage yet.
    pub fn start() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
            let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(TICK);
            bar
        });
        Self(bar)
    }

    /// The next stage, which lasts until another comes.
    pub fn enter(&mut self, stage: &str) {
        match &self.0 {
            Some(bar) => {
                let before = bar.message();
                if !before.is_empty() {
                    bar.suspend(|| say(&format!("{before}: done")));
                }
                bar.set_message(stage.to_owned());
            }
            None => say(stage),
        }
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
