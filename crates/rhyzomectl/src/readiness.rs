//! Waiting for a guest to be up.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use api::instance::{Power, PowerState};
use api::{Instance, Reference, State};
use types::InstanceId;

use crate::output::say;
use crate::session::Session;
use crate::value::show_seconds;
use crate::view::show_condition;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// For so long after a change a guest may still be starting.
const STARTING: Duration = Duration::from_secs(300);

/// An instance, and whether its guest has said that it is up.
pub enum Guest {
    /// It has.
    Reported(Box<Instance>),
    /// It has not, in the time that there was.
    Silent(Box<Instance>, Duration),
}

impl Guest {
    /// The instance of a guest that has reported; an error otherwise.
    pub fn reported(self) -> anyhow::Result<Instance> {
        match self {
            Self::Reported(instance) => Ok(*instance),
            Self::Silent(instance, patience) => bail!(
                "the guest of instance {} has not said within {} that it is up{}",
                instance.name,
                show_seconds(patience.as_secs()),
                reasons(&instance)
            ),
        }
    }
}

/// Waits until the guest has said that it is up.
pub async fn await_guest(
    session: &Session,
    which: &Reference<InstanceId>,
    patience: Duration,
) -> anyhow::Result<Guest> {
    let until = Instant::now() + patience;
    let mut told = false;
    loop {
        let instance: Instance = session.client.get(which).await.with_context(|| format!("instance {which}"))?;
        refuse_hopeless(&instance)?;
        if is_up(&instance) {
            return Ok(Guest::Reported(Box::new(instance)));
        }
        if Instant::now() >= until {
            return Ok(Guest::Silent(Box::new(instance), patience));
        }
        if !told {
            say(&format!("waiting for instance {} to come up", instance.name));
            told = true;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the guest has said that it is up.
pub fn is_up(instance: &Instance) -> bool {
    instance.status.guest.is_some() && instance.status.address.is_some()
}

/// Whether the guest may still be starting: then it is worth waiting for what it says.
pub fn may_be_starting(instance: &Instance) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let changed = Duration::from_millis(instance.updated_at.unix_ms().try_into().unwrap_or(0));
    instance.state != State::Ready || now.saturating_sub(changed) < STARTING
}

/// Fails where waiting leads nowhere.
pub fn refuse_hopeless(instance: &Instance) -> anyhow::Result<()> {
    let name = &instance.name;
    match instance.state {
        State::Failed => bail!("instance {name} has failed{}", reasons(instance)),
        State::Deleting => bail!("instance {name} is being deleted"),
        State::Creating | State::Updating | State::Ready => {}
    }
    if instance.status.power == Some(PowerState::Failed) {
        bail!("the machine of instance {name} has failed{}", reasons(instance));
    }
    match instance.spec.power {
        Power::Stopped => bail!("instance {name} is stopped (start it with: rhyzomectl instance start {name})"),
        Power::Running => Ok(()),
    }
}

fn reasons(instance: &Instance) -> String {
    let conditions: Vec<String> = instance.conditions.iter().map(show_condition).collect();
    if conditions.is_empty() { String::new() } else { format!(": {}", conditions.join("; ")) }
}
