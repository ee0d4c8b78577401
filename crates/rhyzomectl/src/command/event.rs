//! `rhyzomectl event`.

use std::time::Duration;

use anyhow::bail;
use api::event::Change;
use api::{ClientError, Event};
use clap::Subcommand;
use futures_util::StreamExt;

use crate::output::say;
use crate::session::Session;

/// Without `--follow`, the list has ended when nothing has come for this long.
const QUIET: Duration = Duration::from_secs(1);
/// Time before connecting again, doubled each time up to the second figure.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(15)];

/// What can be done with events.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List what has happened
    #[command(visible_alias = "ls")]
    List {
        /// Go on with what happens from here on, across broken connections, until interrupted
        #[arg(long, short)]
        follow: bool,
        /// Begin after the event of this number [the oldest there is; with --follow, what happens from here on]
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
    },
}

impl Command {
    /// Does it.
    pub async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::List { follow: true, after } => follow(session, after).await,
            Self::List { follow: false, after } => list(session, after.unwrap_or(0)).await,
        }
    }
}

async fn list(session: &Session, after: u64) -> anyhow::Result<()> {
    let mut events = std::pin::pin!(session.client.events(Some(after)).await?);
    while let Ok(Some(event)) = tokio::time::timeout(QUIET, events.next()).await {
        print(session, &event?)?;
    }
    Ok(())
}

async fn follow(session: &Session, mut after: Option<u64>) -> anyhow::Result<()> {
    let [mut pause, longest] = BACKOFF;
    loop {
        match session.client.events(after).await {
            Ok(events) => {
                let mut events = std::pin::pin!(events);
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => {
                            print(session, &event)?;
                            after = Some(event.sequence);
                            pause = BACKOFF[0];
                        }
                        Err(ClientError::Transport { .. }) => break,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(ClientError::Transport { .. }) => {}
            Err(ClientError::Problem(problem)) if problem.status == 503 => {}
            Err(error) => return Err(error.into()),
        }
        if pause == longest && after.is_none() {
            bail!("the server does not answer");
        }
        say("the connection broke; connecting again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

fn print(session: &Session, event: &Event) -> anyhow::Result<()> {
    session.format.next(event, || {
        let message = event.message.as_ref().map(|message| format!("  {message}")).unwrap_or_default();
        format!(
            "{}  {}  {} {}  {}  {}{message}",
            event.sequence,
            event.at,
            event.kind,
            event.name,
            change(event.change),
            event.state.as_str()
        )
    })
}

fn change(change: Change) -> &'static str {
    match change {
        Change::Created => "created",
        Change::Updated => "updated",
        Change::Observed => "observed",
        Change::Progressed => "progressed",
        Change::Deleted => "deleted",
    }
}
