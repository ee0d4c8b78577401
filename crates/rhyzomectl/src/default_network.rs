//! The network of instances that name none: the user's choice, the configuration's, or one called `default`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use api::{ClientError, Network, NetworkCreate, NetworkSpec, Reference};
use types::{NetworkId, ResourceName, Tags};

use crate::output::say;
use crate::session::Session;

/// The user's choices, by server.
const FILE: &str = "default-networks.json";
/// The network that is made where there is no other.
const NAME: &str = "default";

type Choices = BTreeMap<String, Reference<NetworkId>>;

/// What the user or the configuration chose.
pub fn chosen(session: &Session) -> anyhow::Result<Option<Reference<NetworkId>>> {
    let mine = read(session)?.remove(&session.settings.url);
    Ok(mine.or_else(|| session.settings.default_network.clone()))
}

/// Remembers the user's choice for this server, or forgets it.
pub fn choose(session: &Session, network: Option<Reference<NetworkId>>) -> anyhow::Result<()> {
    let mut choices = read(session)?;
    let url = session.settings.url.clone();
    match network {
        Some(network) => choices.insert(url, network),
        None => choices.remove(&url),
    };
    session.home.config_directory()?;
    config::file::write_private(&file(session), &serde_json::to_vec_pretty(&choices)?)?;
    Ok(())
}

/// The default network: what was chosen, or else the one called `default`, if it is there.
pub async fn existing(session: &Session) -> anyhow::Result<Option<Reference<NetworkId>>> {
    if let Some(network) = chosen(session)? {
        return Ok(Some(network));
    }
    let which = Reference::Name(name()?);
    match session.client.get::<Network>(&which).await {
        Ok(_) => Ok(Some(which)),
        Err(ClientError::Problem(problem)) if problem.status == 404 => Ok(None),
        Err(error) => Err(error).context("network default"),
    }
}

/// The default network; made where there is none.
pub async fn existing_or_made(session: &Session) -> anyhow::Result<Reference<NetworkId>> {
    if let Some(network) = existing(session).await? {
        return Ok(network);
    }
    let name = name()?;
    let which = Reference::Name(name.clone());
    let body = NetworkCreate { name, tags: Tags::new(), spec: NetworkSpec::default() };
    match session.client.create::<Network>(&body).await {
        Ok(accepted) => {
            let subnet = accepted.resource.spec.subnet.map(|subnet| format!(" ({subnet})")).unwrap_or_default();
            say(&format!("no network was named and there is no default: made network default{subnet}"));
        }
        // Another run was quicker.
        Err(ClientError::Problem(problem)) if problem.status == 409 => {}
        Err(error) => return Err(error).context("network default"),
    }
    Ok(which)
}

fn name() -> anyhow::Result<ResourceName> {
    NAME.parse().context("invariant: it is a name")
}

fn file(session: &Session) -> PathBuf {
    session.home.config_file(FILE)
}

fn read(session: &Session) -> anyhow::Result<Choices> {
    let path = file(session);
    match config::file::read(&path) {
        Ok(text) => Ok(config::parse(&text, &path)?),
        Err(error) if error.is_missing() => Ok(Choices::new()),
        Err(error) => Err(error.into()),
    }
}
