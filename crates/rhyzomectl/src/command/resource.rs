//! What the commands of all kinds of resources share.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use api::{Accepted, Reference};
use clap::Args;
use serde_json::{Map, Value, json};
use types::{ResourceName, TagKey, TagValue, Tags};

use crate::confirm::Consent;
use crate::failure::WrongUsage;
use crate::output::say;
use crate::progress;
use crate::session::Session;
use crate::value::{Tag, duration};
use crate::view::{Names, View, facts, first_facts};

/// Whether to wait for the end of an operation.
#[derive(Args, Clone, Copy, Debug)]
pub struct Wait {
    /// Wait until it is done, showing how far it is
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration, requires = "wait")]
    pub timeout: Duration,
}

/// Tags of something that is made.
#[derive(Args, Clone, Debug, Default)]
pub struct NewTags {
    /// A tag, to find it again; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    tags: Vec<Tag>,
}

impl NewTags {
    /// The tags.
    pub fn tags(self) -> Tags {
        self.tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
    }
}

/// What can be changed of any resource.
#[derive(Args, Clone, Debug)]
pub struct Renewal {
    /// Give it another name
    #[arg(long, value_name = "NAME")]
    name: Option<ResourceName>,
    /// Set a tag; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    tags: Vec<Tag>,
    /// Take a tag away; may be given several times
    #[arg(long = "untag", value_name = "KEY")]
    untags: Vec<TagKey>,
}

impl Renewal {
    /// A merge patch with these changes and those of the spec; refused where it would change nothing.
    pub fn patch(self, spec: Map<String, Value>) -> anyhow::Result<Value> {
        let mut patch = Map::new();
        if let Some(name) = self.name {
            patch.insert("name".to_owned(), json!(name));
        }
        let set = self.tags.into_iter().map(|tag| (tag.key, Some(tag.value)));
        let unset = self.untags.into_iter().map(|key| (key, None));
        let tags: BTreeMap<TagKey, Option<TagValue>> = set.chain(unset).collect();
        if !tags.is_empty() {
            patch.insert("tags".to_owned(), json!(tags));
        }
        if !spec.is_empty() {
            patch.insert("spec".to_owned(), Value::Object(spec));
        }
        match patch.is_empty() {
            true => Err(WrongUsage("nothing to change: name what should be different".to_owned()).into()),
            false => Ok(Value::Object(patch)),
        }
    }
}

/// Which resources to list.
#[derive(Args, Clone, Debug)]
pub struct Listing {
    /// Only those with this tag; given several times, with all of them
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    tags: Vec<Tag>,
    /// Only those in this state
    #[arg(long, value_parser = ["creating", "ready", "updating", "deleting", "failed"])]
    state: Option<String>,
    /// Only the one of this name
    #[arg(long)]
    name: Option<ResourceName>,
}

impl Listing {
    /// The parameters of the list, with those that the kind has beside.
    fn query(&self, more: &[(&'static str, Option<String>)]) -> Vec<(&'static str, String)> {
        let tags = self.tags.iter().map(|tag| ("tag", format!("{}:{}", tag.key, tag.value)));
        let name = self.name.as_ref().map(ToString::to_string);
        let single = [("state", self.state.clone()), ("name", name)];
        let single = single.into_iter().chain(more.iter().cloned());
        tags.chain(single.filter_map(|(parameter, value)| Some((parameter, value?)))).collect()
    }
}

/// Lists a kind, as far as `listing` and the parameters in `more` let it through.
pub async fn list<K: View>(
    session: &Session,
    listing: &Listing,
    more: &[(&'static str, Option<String>)],
) -> anyhow::Result<()> {
    let query = listing.query(more);
    let query: Vec<(&str, &str)> = query.iter().map(|(parameter, value)| (*parameter, value.as_str())).collect();
    let all: Vec<K> = session.client.list_filtered(&query).await?;
    let names = Names::needed_by::<K>(&session.client).await;
    session.format.list(&all, K::COLUMNS, |resource| resource.row(&names))
}

/// Shows one resource.
pub async fn get<K: View>(session: &Session, which: &Reference<K::Id>) -> anyhow::Result<()> {
    let resource: K = find(session, which).await?;
    let names = Names::needed_by::<K>(&session.client).await;
    session.format.one(&resource, || facts(&resource, &names))
}

/// One resource; an error names it.
pub async fn find<K: View>(session: &Session, which: &Reference<K::Id>) -> anyhow::Result<K> {
    session.client.get(which).await.with_context(|| format!("{} {which}", K::NOUN))
}

/// Changes a resource.
pub async fn update<K: View>(
    session: &Session,
    which: &Reference<K::Id>,
    patch: &Value,
    wait: Wait,
) -> anyhow::Result<()> {
    let accepted = session.client.update::<K>(which, patch).await.with_context(|| format!("{} {which}", K::NOUN))?;
    accepted_now(session, accepted, wait).await
}

/// Prints what was accepted, and waits for it where that was asked for. A person sees it at once; a program gets one
/// document, after the wait.
pub async fn accepted_now<K: View>(session: &Session, accepted: Accepted<K>, wait: Wait) -> anyhow::Result<()> {
    if session.format.is_for_people() || !wait.wait {
        print(session, &accepted).await?;
    }
    if !wait.wait {
        return Ok(());
    }
    progress::follow(&session.client, accepted.operation, wait.timeout).await?;
    let resource: K = find(session, &Reference::Id(accepted.resource.id())).await?;
    say(&format!("{} {} is {}", K::NOUN, resource.name(), resource.state().as_str()));
    match session.format.is_for_people() {
        true => Ok(()),
        false => print(session, &Accepted { resource, operation: accepted.operation }).await,
    }
}

async fn print<K: View>(session: &Session, accepted: &Accepted<K>) -> anyhow::Result<()> {
    let names = Names::needed_by::<K>(&session.client).await;
    session.format.one(accepted, || {
        let mut facts = first_facts(&accepted.resource, &names);
        facts.push(("operation", accepted.operation.to_string()));
        facts
    })
}

/// What to delete, and how.
#[derive(Args, Clone, Debug)]
pub struct Deletion {
    #[command(flatten)]
    pub consent: Consent,
    #[command(flatten)]
    pub wait: Wait,
}

/// The resources, and a sentence for each on what goes with it.
pub async fn doomed<K: View>(session: &Session, which: &[Reference<K::Id>]) -> anyhow::Result<Vec<(K, String)>> {
    let mut doomed = Vec::new();
    for which in which {
        let resource: K = find(session, which).await?;
        let deed = format!("{} {} ({}) will be deleted {}", K::NOUN, resource.name(), resource.id(), resource.loss());
        doomed.push((resource, deed));
    }
    Ok(doomed)
}

/// Deletes resources after asking.
pub async fn delete<K: View>(
    session: &Session,
    which: &[Reference<K::Id>],
    deletion: &Deletion,
) -> anyhow::Result<Vec<K>> {
    let doomed: Vec<(K, String)> = doomed(session, which).await?;
    let deeds: Vec<String> = doomed.iter().map(|(_, deed)| deed.clone()).collect();
    deletion.consent.ask(&deeds)?;
    delete_now(session, doomed.into_iter().map(|(resource, _)| resource).collect(), deletion.wait).await
}

/// Deletes resources without asking; all are asked for before the first is waited for.
pub async fn delete_now<K: View>(session: &Session, doomed: Vec<K>, wait: Wait) -> anyhow::Result<Vec<K>> {
    let mut all = Vec::new();
    for resource in &doomed {
        let accepted = session.client.delete::<K>(&Reference::Id(resource.id())).await;
        let accepted = accepted.with_context(|| format!("{} {}", K::NOUN, resource.name()))?;
        say(&format!("{} {}: deletion is operation {}", K::NOUN, resource.name(), accepted.operation));
        all.push(accepted);
    }
    if wait.wait {
        for accepted in &all {
            progress::follow(&session.client, accepted.operation, wait.timeout).await?;
            say(&format!("{} {} is gone", K::NOUN, accepted.resource.name()));
        }
    }
    if !session.format.is_for_people() {
        session.format.list(&all, &[], |_| Vec::new())?;
    }
    Ok(doomed)
}
