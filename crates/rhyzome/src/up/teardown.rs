//! Takes an installation off the machine: in order while it answers, by force where it does not.

use std::time::Duration;

use anyhow::Result;

use super::layout::Layout;
use super::leftover::{self, Leftover};
use super::program;
use super::state::State;

/// How long a program may take to end by itself. An agent takes up to ten seconds to see its calls through.
const GRACE: Duration = Duration::from_secs(15);
/// How often what is left is looked for and removed. One pass may uncover more: a killed process frees its socket.
const PASSES: usize = 4;

/// Stops and removes everything, and says what is left all the same.
pub async fn teardown(layout: &Layout, state: &State) -> Result<Vec<Leftover>> {
    for name in program::STOPPING_ORDER {
        for (_, process) in state.alive().filter(|(alive, _)| *alive == name) {
            if let Err(error) = process.stop(GRACE).await {
                tracing::warn!(program = name, error = %error, "a program does not end");
            }
        }
        if let Err(error) = program::tidy(name, layout).await {
            tracing::warn!(program = name, error = format!("{error:#}"), "a program did not tidy up");
        }
    }
    for _ in 0..PASSES {
        let found = leftover::find(layout, state)?;
        if found.is_empty() {
            return Ok(found);
        }
        for leftover in found {
            match leftover.remove().await {
                Ok(()) => tracing::info!(%leftover, "removed"),
                Err(error) => tracing::debug!(%leftover, error = format!("{error:#}"), "not removed"),
            }
        }
    }
    leftover::find(layout, state)
}
