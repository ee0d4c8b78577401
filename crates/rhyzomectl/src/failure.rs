//! Failures: what a person reads, and the exit code.

use std::process::ExitCode;

use api::{ClientError, Problem};

use crate::output::{ClosedPipe, say};

/// The command line asks for something that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUsage(pub String);

/// Says what went wrong; gives the exit code: 1 for a failure, 2 for wrong usage. A reader of stdout who has had enough
/// is no failure.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.chain().any(|cause| cause.downcast_ref::<ClosedPipe>().is_some()) {
        return ExitCode::SUCCESS;
    }
    say(&format!("rhyzomectl: {}", describe(error)));
    let wrong_usage = error.chain().any(|cause| cause.downcast_ref::<WrongUsage>().is_some());
    ExitCode::from(if wrong_usage { 2 } else { 1 })
}

/// The error and its causes as one text.
pub fn describe(error: &anyhow::Error) -> String {
    match error.chain().find_map(|cause| cause.downcast_ref::<ClientError>()) {
        Some(client) => {
            let described = describe_client(client);
            let before: Vec<String> = error
                .chain()
                .take_while(|cause| cause.downcast_ref::<ClientError>().is_none())
                .map(ToString::to_string)
                // The server may have named it too.
                .filter(|context| !described.contains(context))
                .collect();
            before.into_iter().chain([described]).collect::<Vec<_>>().join(": ")
        }
        None => format!("{error:#}"),
    }
}

fn describe_client(error: &ClientError) -> String {
    match error {
        ClientError::Problem(problem) => describe_problem(problem),
        ClientError::Transport { url, source } => {
            let mut cause: &dyn std::error::Error = source;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            let advice = if source.is_connect() { "\n(is the server running, and is this its address?)" } else { "" };
            format!("no usable answer from {url}: {cause}{advice}")
        }
        ClientError::Unexpected { .. } => error.to_string(),
    }
}

/// What the server found, each fault on a line of its own, with its place as a person would name it.
fn describe_problem(problem: &Problem) -> String {
    let mut text = problem.detail.clone();
    for fault in &problem.faults {
        let place = fault.field.trim_start_matches('/').replace('/', ".");
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        text.push_str(&format!("\n  {place}{}", fault.detail));
    }
    if problem.status == 401 {
        text.push_str("\n(log in with: rhyzomectl login)");
    }
    text
}

#[cfg(test)]
mod tests {
    use api::{Fault, ProblemKind};

    use super::*;

    #[test]
    fn every_fault_is_told() {
        let faults =
            vec![Fault::new("/spec/dhcp/range", "10.0.0.1 is not in 10.77.0.0/24"), Fault::new("", "too many tags")];
        let problem = ProblemKind::Invalid.because("the network cannot be made").with_faults(faults);
        let error = anyhow::Error::from(ClientError::Problem(Box::new(problem))).context("network home");
        assert_eq!(
            describe(&error),
            "network home: the network cannot be made\n  spec.dhcp.range: 10.0.0.1 is not in 10.77.0.0/24\n  too many tags"
        );
    }

    #[test]
    fn that_nothing_is_left_is_one_line() {
        let problem = ProblemKind::Exhausted.because("no free address in the network is left");
        let error = anyhow::Error::from(ClientError::Problem(Box::new(problem))).context("instance hello");
        assert_eq!(describe(&error), "instance hello: no free address in the network is left");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = anyhow::Error::from(ClosedPipe).context("printing");
        assert_eq!(format!("{:?}", report(&error)), format!("{:?}", ExitCode::SUCCESS));
    }
}
