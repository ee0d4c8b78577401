//! Submissions of commands on this machine, until they are decided.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use data_encoding::HEXLOWER;
use fleet::catch_up::{Book, Report};
use fleet::node::Node;
use fleet::submission::Submission;
use fleet::voter::Ledger;
use serde_json::{Value, json};

use super::control::Question;

/// So long a command waits for the voters.
const PATIENCE: Duration = Duration::from_secs(60);
/// More records are not told: whoever asks reads the journal anew.
const LONGEST: usize = 8 << 20;

/// A submission whose author waits.
pub struct Waiting {
    question: Question,
    bytes: Vec<u8>,
    submission: Submission,
    /// How many decided records the command knows.
    known: u64,
    since: Instant,
}

/// Takes a question apart: `{"ask": "submit", "known": COUNT, "submission": HEX}`.
///
/// # Errors
/// When it is none, or is refused as it is. The question is answered then.
pub fn take(question: Question, node: &Node) -> Option<Waiting> {
    match read(&question.ask, node) {
        Ok((bytes, submission, known)) => Some(Waiting { question, bytes, submission, known, since: Instant::now() }),
        Err(error) => {
            question.answer(Err(error));
            None
        }
    }
}

fn read(ask: &Value, node: &Node) -> anyhow::Result<(Vec<u8>, Submission, u64)> {
    let text = ask.get("submission").and_then(Value::as_str).context("the submission is missing")?;
    let bytes = HEXLOWER.decode(text.as_bytes()).context("the submission is no hex")?;
    let submission = Submission::from_bytes(&bytes, node.replica().fleet())?;
    if let Some(serving) = node.serving() {
        serving.archive.log().judge(&submission.record)?;
    }
    Ok((bytes, submission, ask.get("known").and_then(Value::as_u64).unwrap_or_default()))
}

impl Waiting {
    /// The submission, to be handed to the voters.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Answers, if it was decided or there is no more waiting; else it goes on waiting.
    pub fn settle(self, node: &Node, refused: &[String]) -> Option<Self> {
        let answer = match node.serving() {
            Some(serving) if serving.voter.electorate().voters.contains(&node.key()) => {
                match serving.archive.outcome(&self.submission) {
                    Some(Ok(index)) => Ok(json!({"index": index, "records": self.records(node)})),
                    Some(Err(reason)) => Err(anyhow!("{reason}")),
                    None if self.since.elapsed() < PATIENCE => return Some(self),
                    None => Err(late(node)),
                }
            }
            _ if node.replica().reports().contains(&Report::Record(self.bytes.clone())) => {
                if self.since.elapsed() < PATIENCE {
                    return Some(self);
                }
                Err(late(node))
            }
            _ => match refused.last() {
                Some(reason) => Err(anyhow!("{reason}")),
                None => Ok(json!({})),
            },
        };
        self.question.answer(answer);
        None
    }

    /// What was decided since the command read the journal, if it is not too much.
    fn records(&self, node: &Node) -> Option<Vec<String>> {
        let archive = &node.serving()?.archive;
        if archive.length() < self.known {
            return None;
        }
        let records: Vec<String> = archive.decided_from(self.known).map(|record| HEXLOWER.encode(record)).collect();
        (records.iter().map(String::len).sum::<usize>() < LONGEST).then_some(records)
    }
}

/// What still holds a submission up.
fn late(node: &Node) -> anyhow::Error {
    let silent: Vec<String> = node.silent_voters().into_iter().map(|name| name.to_string()).collect();
    let waits = "it is kept, and decided when a majority of the voters is there";
    let seconds = PATIENCE.as_secs();
    match silent.as_slice() {
        [] => anyhow!("not decided within {seconds} s; {waits}"),
        silent => anyhow!("not decided within {seconds} s, as nothing is heard of {}; {waits}", silent.join(", ")),
    }
}

/// What nobody here can answer.
///
/// # Errors
/// Always.
pub fn unknown(question: &Question) -> anyhow::Result<Value> {
    bail!("the node that runs does not know {:?}: it may be of another version", question.name())
}
