//! Operations.

use api::Operation;
use api::operation::{Step, StepState};

use super::{known, moment};
use crate::output::Facts;

/// The head of a list of operations.
pub const OPERATION_COLUMNS: &[&str] = &["ID", "ACTION", "RESOURCE", "STATE", "STEPS", "CREATED", "REASON"];

/// One operation in a list.
pub fn operation_row(operation: &Operation) -> Vec<String> {
    let done = operation.steps.iter().filter(|step| step.state == StepState::Done).count();
    vec![
        operation.id.to_string(),
        operation.action.clone(),
        operation.resource.to_string(),
        operation.state.as_str().to_owned(),
        format!("{done}/{}", operation.steps.len()),
        moment(operation.created_at),
        known(operation.reason.as_ref()),
    ]
}

/// All facts of one operation.
pub fn operation_facts(operation: &Operation) -> Facts {
    let steps: Vec<String> = operation.steps.iter().map(show_step).collect();
    vec![
        ("id", operation.id.to_string()),
        ("action", operation.action.clone()),
        ("resource", operation.resource.to_string()),
        ("state", operation.state.as_str().to_owned()),
        ("reason", known(operation.reason.as_ref())),
        ("steps", steps.join("\n")),
        ("created", moment(operation.created_at)),
        ("finished", operation.finished_at.map(moment).unwrap_or_default()),
    ]
}

fn show_step(step: &Step) -> String {
    let state = match step.state {
        StepState::Pending => "pending",
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Failed => "failed",
        StepState::Undone => "undone",
    };
    match &step.reason {
        Some(reason) => format!("{}: {state}: {reason}", step.name),
        None => format!("{}: {state}", step.name),
    }
}
