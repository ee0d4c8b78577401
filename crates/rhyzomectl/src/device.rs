//! A peer whose private key lies on this machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use api::{Client, ClientError, Peer, PeerCreate, PeerSpec, Reference, State};
use data_encoding::BASE32_NOPAD;
use serde_json::json;
use sha2::{Digest, Sha256};
use types::{NetworkId, OperationId, ResourceName, Tags, WgPublicKey};

use crate::home::Home;
use crate::key::WireguardKey;
use crate::value::show_seconds;
use crate::view::show_condition;

/// How long the routers may take to let a device in.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(150);

/// A device of this user, known to the server as a peer once it is registered.
pub struct Device {
    /// The peer's name.
    pub name: ResourceName,
    /// The public half of its key.
    pub public_key: WgPublicKey,
    /// The file with the private half.
    pub key_file: PathBuf,
}

impl Device {
    /// What the command itself enters networks with; its key is made where there is none.
    pub fn of_command(home: &Home) -> anyhow::Result<Self> {
        let key = WireguardKey::named(home, "ssh")?;
        let public_key = key.private.public();
        Ok(Self { name: command_name(home.user(), &host_name(), public_key)?, public_key, key_file: key.file })
    }

    /// The device called `name`; its key is made where there is none.
    pub fn named(home: &Home, name: ResourceName) -> anyhow::Result<Self> {
        let key = WireguardKey::named(home, &format!("peer-{name}"))?;
        Ok(Self { public_key: key.private.public(), name, key_file: key.file })
    }

    /// The name of a device that was given none: user and machine.
    pub fn usual_name(home: &Home) -> anyhow::Result<ResourceName> {
        let parts = [label(home.user(), 20), label(&host_name(), 24)];
        let present: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        present.join("-").parse().context("no name can be made of user and machine: give one")
    }

    /// The peer, where the server knows it; refused where it has another key.
    pub async fn find(&self, client: &Client) -> anyhow::Result<Option<Peer>> {
        let which = Reference::Name(self.name.clone());
        let peer: Peer = match client.get(&which).await {
            Err(ClientError::Problem(problem)) if problem.status == 404 => return Ok(None),
            result => result.with_context(|| format!("peer {}", self.name))?,
        };
        if peer.spec.public_key != self.public_key {
            bail!(
                "peer {} is there, and its private key is not on this machine; take another name, or delete it",
                self.name
            );
        }
        Ok(Some(peer))
    }

    /// Makes the peer; no operation where another run was quicker.
    pub async fn register(
        &self,
        client: &Client,
        networks: Vec<Reference<NetworkId>>,
    ) -> anyhow::Result<Option<OperationId>> {
        let spec = PeerSpec { public_key: self.public_key, networks };
        match client.create::<Peer>(&PeerCreate { name: self.name.clone(), tags: Tags::new(), spec }).await {
            Err(ClientError::Problem(problem)) if problem.kind.ends_with(":conflict") => Ok(None),
            result => Ok(Some(result.with_context(|| format!("peer {}", self.name))?.operation)),
        }
    }

    /// Lets the peer into these networks and no others.
    pub async fn set_networks(
        &self,
        client: &Client,
        networks: &[Reference<NetworkId>],
    ) -> anyhow::Result<OperationId> {
        let patch = json!({ "spec": { "networks": networks } });
        let accepted = client.update::<Peer>(&Reference::Name(self.name.clone()), &patch).await;
        Ok(accepted.with_context(|| format!("peer {}", self.name))?.operation)
    }

    /// Waits until the routers let the peer in as it is; nothing where it is gone.
    pub async fn applied(&self, client: &Client, change: Option<OperationId>) -> anyhow::Result<Option<Peer>> {
        let until = Instant::now() + PATIENCE;
        loop {
            let Some(peer) = self.find(client).await? else { return Ok(None) };
            match peer.state {
                State::Ready => return Ok(Some(peer)),
                State::Failed => bail!(
                    "peer {} was refused{}; delete it (rhyzomectl peer delete {}) and try again",
                    self.name,
                    reasons(&peer),
                    self.name
                ),
                State::Creating | State::Updating | State::Deleting => {}
            }
            if Instant::now() >= until {
                let why = match change {
                    Some(operation) => client.operation(operation).await.ok().and_then(|operation| operation.reason),
                    None => None,
                };
                let why = why.map_or_else(|| reasons(&peer), |why| format!(": {why}"));
                let patience = show_seconds(PATIENCE.as_secs());
                bail!("the router has not let peer {} in within {patience}{why}", self.name);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn reasons(peer: &Peer) -> String {
    let conditions: Vec<String> = peer.conditions.iter().map(show_condition).collect();
    if conditions.is_empty() { String::new() } else { format!(": {}", conditions.join("; ")) }
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// `ssh-<user>-<host>-<mark of the key>`: a person sees whose it is, and two machines of one name do not collide.
fn command_name(user: &str, host: &str, key: WgPublicKey) -> anyhow::Result<ResourceName> {
    let mark = BASE32_NOPAD.encode(&Sha256::digest(key.bytes())[..5]).to_ascii_lowercase();
    let parts = ["ssh", &label(user, 20), &label(host, 24), &mark[..6]];
    let present: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Ok(present.join("-").parse()?)
}

/// What of `text` may stand in a name, at most `length` characters.
fn label(text: &str, length: usize) -> String {
    let allowed = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let text: String = text.chars().map(allowed).collect();
    let words: Vec<&str> = text.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-").chars().take(length).collect::<String>().trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_user_on_any_machine_makes_a_name() {
        let key: WgPublicKey = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=".parse().unwrap();
        let name = |user: &str, host: &str| command_name(user, host, key).unwrap().to_string();
        assert!(name("root", "box").starts_with("ssh-root-box-"), "{}", name("root", "box"));
        assert!(name("Jörg Müller", "MY_HOST").starts_with("ssh-j-rg-m-ller-my-host-"));
        assert!(name("", "").starts_with("ssh-"));
        assert!(name(&"u".repeat(300), &"h".repeat(300)).len() <= 63);
    }
}
