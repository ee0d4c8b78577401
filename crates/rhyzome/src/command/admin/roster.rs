//! The agents of an installation as a person sees and dismisses them.

use std::path::Path;

use anyhow::{Context, bail};
use api::Timestamp;
use clap::ValueEnum;
use pki::AgentIdentity;
use store::{AgentRecord, Caller, StoreError};
use types::{AgentId, TenantName};

use super::consent::Consent;
use crate::command::{output, table};
use crate::serve::{open_store, read_config};

/// What is told who does not agree.
const UNDONE: &str = "nothing was done";

/// How a list is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Form {
    /// Columns for people.
    Table,
    /// JSON for programs.
    Json,
}

/// Prints all agents.
pub async fn list(config: Option<&Path>, form: Form) -> anyhow::Result<()> {
    let store = open_store(&read_config(config)?).await?;
    let records = store.read().await?.agent_records(&Caller::core()).await?;
    store.close().await;
    match form {
        Form::Json => {
            let items: Vec<_> = records.iter().map(as_json).collect();
            output::line(serde_json::to_string_pretty(&items)?)?;
        }
        Form::Table => output::whole(columns(&records))?,
    }
    Ok(())
}

/// Ends what an agent may do, at once and for good.
pub async fn revoke(config: Option<&Path>, agent: AgentId, consent: Consent) -> anyhow::Result<()> {
    let store = open_store(&read_config(config)?).await?;
    let record = find(&store, agent).await?;
    if record.revoked_at.is_some() {
        output::line(format_args!("{agent} is revoked already"))?;
        return Ok(());
    }
    let deed = format!(
        "{} {} is cut off from the core and gets no more jobs or secrets; what runs there goes on. It can be invited again.",
        record.kind, record.name
    );
    consent.ask(&format!("{deed}\nGo on"), UNDONE)?;
    let written: Result<bool, StoreError> =
        store::transact!(store, async |session| session.revoke_agent(&Caller::core(), agent).await).await;
    written?;
    store.close().await;
    Ok(output::line(format_args!("revoked {agent} of {} {}", record.kind, record.name))?)
}

/// Removes the record of a revoked agent.
pub async fn forget(config: Option<&Path>, agent: AgentId, consent: Consent) -> anyhow::Result<()> {
    let store = open_store(&read_config(config)?).await?;
    let record = find(&store, agent).await?;
    if record.revoked_at.is_none() {
        bail!("{agent} is not revoked: rhyzome admin agent revoke {agent} comes first");
    }
    let deed = format!("the record of {agent} of {} {} is removed", record.kind, record.name);
    consent.ask(&format!("{deed}\nGo on"), UNDONE)?;
    let written: Result<bool, StoreError> =
        store::transact!(store, async |session| session.forget_agent(&Caller::core(), agent).await).await;
    written?;
    store.close().await;
    Ok(output::line(format_args!("forgot {agent}"))?)
}

/// Makes an agent whose certificate another CA makes, and prints what that one must name.
pub async fn register(config: Option<&Path>, tenant: &TenantName, kind: &str, name: &str) -> anyhow::Result<()> {
    let store = open_store(&read_config(config)?).await?;
    let identity = store::transact!(store, async |session| -> anyhow::Result<AgentIdentity> {
        let target = session.ensure_target(&Caller::core(), tenant, kind, name).await?;
        let agent = session.register_agent(&Caller::core(), target).await?;
        Ok(AgentIdentity { cluster: session.installation().cluster, agent, target })
    })
    .await?;
    store.close().await;
    Ok(output::line(identity)?)
}

async fn find(store: &store::Store, agent: AgentId) -> anyhow::Result<AgentRecord> {
    let records = store.read().await?.agent_records(&Caller::core()).await?;
    let found = records.into_iter().find(|record| record.agent.agent == agent);
    found.with_context(|| format!("there is no agent {agent} (rhyzome admin agent list shows all)"))
}

fn state(record: &AgentRecord) -> &'static str {
    match (record.revoked_at, record.connected) {
        (Some(_), _) => "revoked",
        (None, true) => "connected",
        (None, false) => "away",
    }
}

fn columns(records: &[AgentRecord]) -> String {
    let heads = ["AGENT", "KIND", "NAME", "TENANT", "STATE", "PROTOCOL", "SOFTWARE", "LAST SEEN"].map(str::to_owned);
    let rows = records.iter().map(|record| {
        [
            record.agent.agent.to_string(),
            record.kind.clone(),
            record.name.clone(),
            record.tenant.to_string(),
            state(record).to_owned(),
            record.protocol.map_or_else(|| "-".to_owned(), |protocol| protocol.to_string()),
            record.software.clone().unwrap_or_else(|| "-".to_owned()),
            record.last_seen_at.map_or_else(|| "never".to_owned(), |at| Timestamp::from_unix_ms(at).to_string()),
        ]
    });
    let rows: Vec<[String; 8]> = std::iter::once(heads).chain(rows).collect();
    table::aligned(&rows)
}

fn as_json(record: &AgentRecord) -> serde_json::Value {
    serde_json::json!({
        "agent": record.agent.agent,
        "target": record.agent.target,
        "kind": record.kind,
        "name": record.name,
        "tenant": record.tenant,
        "state": state(record),
        "protocol": record.protocol,
        "software": record.software,
        "last_seen_at": record.last_seen_at.map(|at| Timestamp::from_unix_ms(at).to_string()),
        "revoked_at": record.revoked_at.map(|at| Timestamp::from_unix_ms(at).to_string()),
    })
}
