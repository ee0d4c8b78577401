//! How things look to a person: a row in a list, or the facts of one.

mod agent;
mod image;
mod instance;
mod network;
mod operation;
mod peer;

use std::collections::BTreeMap;

use api::{Client, Condition, Kind, Reference};
use types::{ImageId, NetworkId, Tags};

pub use agent::{AGENT_COLUMNS, agent_row};
pub use operation::{OPERATION_COLUMNS, operation_facts, operation_row};

use crate::output::Facts;

/// A kind of resource as people see it.
pub trait View: Kind {
    /// The head of a list.
    const COLUMNS: &'static [&'static str];
    /// Whether the names of what it refers to are needed.
    const REFERS: bool = false;

    /// The cells below [`View::COLUMNS`].
    fn row(&self, names: &Names) -> Vec<String>;

    /// What people want to know first of one.
    fn highlights(&self, _names: &Names) -> Facts {
        Facts::new()
    }

    /// What is particular to the kind, for the facts of one.
    fn particulars(&self, names: &Names) -> Facts;

    /// What goes with it when it is deleted: the rest of a sentence.
    fn loss(&self) -> String;

    /// Its tags.
    fn tags(&self) -> &Tags;
}

/// The names of what resources refer to by id.
#[derive(Default)]
pub struct Names {
    networks: BTreeMap<NetworkId, String>,
    images: BTreeMap<ImageId, String>,
}

impl Names {
    /// The names that `K` needs. What may not be listed keeps its id.
    pub async fn needed_by<K: View>(client: &Client) -> Self {
        match K::REFERS {
            true => Self { networks: named::<api::Network>(client).await, images: named::<api::Image>(client).await },
            false => Self::default(),
        }
    }

    /// A network's name.
    pub fn network(&self, which: &Reference<NetworkId>) -> String {
        name(&self.networks, which)
    }

    /// An image's name.
    pub fn image(&self, which: &Reference<ImageId>) -> String {
        name(&self.images, which)
    }
}

async fn named<K: Kind<Id: Ord>>(client: &Client) -> BTreeMap<K::Id, String> {
    let all: Vec<K> = client.list().await.unwrap_or_default();
    all.into_iter().map(|resource| (resource.id(), resource.name().to_string())).collect()
}

fn name<I: Copy + Ord + std::fmt::Display>(names: &BTreeMap<I, String>, which: &Reference<I>) -> String {
    which.id().and_then(|id| names.get(&id).cloned()).unwrap_or_else(|| which.to_string())
}

/// The first facts of one resource.
pub fn first_facts<K: View>(resource: &K, names: &Names) -> Facts {
    let mut facts = vec![
        ("name", resource.name().to_string()),
        ("id", resource.id().to_string()),
        ("state", resource.state().as_str().to_owned()),
    ];
    facts.extend(resource.highlights(names));
    facts
}

/// All facts of one resource.
pub fn facts<K: View>(resource: &K, names: &Names) -> Facts {
    let mut facts = first_facts(resource, names);
    facts.extend(resource.particulars(names));
    let tags: Vec<String> = resource.tags().iter().map(|(key, value)| format!("{key}={value}")).collect();
    facts.push(("tags", tags.join("\n")));
    let conditions: Vec<String> = resource.conditions().iter().map(show_condition).collect();
    facts.push(("conditions", conditions.join("\n")));
    facts
}

/// A condition as one line.
pub fn show_condition(condition: &Condition) -> String {
    let holds = if condition.holds { "" } else { "not " };
    match &condition.reason {
        Some(reason) => format!("{holds}{}: {reason}", condition.name),
        None => format!("{holds}{}", condition.name),
    }
}

/// A moment as people read it, to the second.
fn moment(moment: api::Timestamp) -> String {
    let text = moment.to_string();
    let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
    format!("{}Z", seconds.replace('T', " "))
}

/// What is known, as text; nothing where it is not.
fn known<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}
