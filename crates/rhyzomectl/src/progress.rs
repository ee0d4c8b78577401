//! Following an operation to its end: a live line on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use api::operation::{Step, StepState};
use api::{Client, ClientError, Operation, OperationState};
use indicatif::{ProgressBar, ProgressStyle};
use types::OperationId;

use crate::output::say;
use crate::value::show_seconds;

/// Time between two looks at an operation.
const LOOK: Duration = Duration::from_millis(200);
/// A wait shorter than this is not worth a line.
const SHORT: Duration = Duration::from_secs(3);
/// How often the live line moves.
const TICK: Duration = Duration::from_millis(120);

/// Follows an operation until it has ended or `patience` has run out; fails with its reason when it fails.
pub async fn follow(client: &Client, id: OperationId, patience: Duration) -> anyhow::Result<Operation> {
    let until = Instant::now() + patience;
    let mut display = Display::start();
    let mut waits_for = None;
    loop {
        match client.operation(id).await {
            Ok(operation) => {
                display.show(&operation);
                waits_for = waiting(&operation.steps).map(|(_, reason)| reason.to_owned());
                if operation.state.is_final() {
                    display.end();
                    return judge(operation);
                }
            }
            // The operation goes on without us; a server that is started anew comes back.
            Err(ClientError::Transport { source, .. }) if Instant::now() < until && !source.is_builder() => {
                display.hint("the server does not answer; trying again");
            }
            Err(error) => return Err(error).with_context(|| format!("cannot follow operation {id}")),
        }
        if Instant::now() >= until {
            display.end();
            let waits_for = waits_for.map(|reason| format!("{reason}; ")).unwrap_or_default();
            bail!(
                "operation {id} has not ended within {}; {waits_for}it goes on (follow it with: rhyzomectl operation wait \
                 {id})",
                show_seconds(patience.as_secs())
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn judge(operation: Operation) -> anyhow::Result<Operation> {
    let reason = operation.reason.as_deref().unwrap_or("the server gives no reason");
    match operation.state {
        OperationState::Failed => bail!("{} failed: {reason}", operation.action),
        OperationState::Cancelled => bail!("{} was given up: {reason}", operation.action),
        OperationState::Pending | OperationState::Running | OperationState::Succeeded => Ok(operation),
    }
}

/// What is shown of an operation, and what has been shown already.
struct Display {
    bar: Option<ProgressBar>,
    told: Vec<String>,
    waits: Option<(String, Instant)>,
}

impl Display {
    fn start() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
            let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, told: Vec::new(), waits: None }
    }

    /// Shows what is new of the operation.
    fn show(&mut self, operation: &Operation) {
        for line in lines(operation) {
            self.tell(line);
        }
        self.hint(&current(operation));
        let line = waiting(&operation.steps);
        match line.map(|(step, reason)| format!("{}: {}: {reason}", operation.action, step.name)) {
            Some(line) => match &self.waits {
                Some((known, since)) if *known == line && since.elapsed() >= SHORT => self.tell(line),
                Some((known, _)) if *known == line => {}
                _ => self.waits = Some((line, Instant::now())),
            },
            None => self.waits = None,
        }
    }

    fn tell(&mut self, line: String) {
        if self.told.contains(&line) {
            return;
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| say(&line)),
            None => say(&line),
        }
        self.told.push(line);
    }

    fn hint(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line for each step that has ended.
fn lines(operation: &Operation) -> Vec<String> {
    let line = |step: &Step| {
        let word = match step.state {
            StepState::Pending | StepState::Running => return None,
            StepState::Done => "done",
            StepState::Failed => "failed",
            StepState::Undone => "undone",
        };
        let reason = step.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        Some(format!("{}: {} {word}{reason}", operation.action, step.name))
    };
    operation.steps.iter().filter_map(line).collect()
}

/// The step that the operation waits in, also before the step could begin, and why.
fn waiting(steps: &[Step]) -> Option<(&Step, &str)> {
    let step = steps.iter().find(|step| matches!(step.state, StepState::Pending | StepState::Running))?;
    Some((step, step.reason.as_deref()?))
}

/// What the operation is at.
fn current(operation: &Operation) -> String {
    let step = operation.steps.iter().find(|step| step.state == StepState::Running);
    match step {
        Some(step) => format!("{}: {}", operation.action, step.name),
        None => format!("{}: {}", operation.action, operation.state.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_that_cannot_begin_says_what_it_waits_for() {
        let step = |state: &str, reason: Option<&str>| json!({ "name": "place", "state": state, "reason": reason });
        let with = |steps: &[serde_json::Value]| -> Vec<Step> {
            steps.iter().map(|step| serde_json::from_value(step.clone()).unwrap()).collect()
        };
        let reason = |steps: &[Step]| waiting(steps).map(|(_, reason)| reason.to_owned());
        let lonely = "no hypervisor is connected";
        assert_eq!(reason(&with(&[step("done", None), step("pending", Some(lonely))])).as_deref(), Some(lonely));
        assert_eq!(reason(&with(&[step("running", Some("busy")), step("pending", None)])).as_deref(), Some("busy"));
        assert_eq!(reason(&with(&[step("pending", None), step("pending", None)])), None);
    }
}
