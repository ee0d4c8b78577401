//! `rhyzomectl peer`.

use anyhow::Context;
use api::{Peer, PeerCreate, PeerSpec, Reference};
use clap::{Args, Subcommand};
use serde_json::{Map, json};
use types::{NetworkId, PeerId, ResourceName, WgPublicKey};

use super::resource::{self, Deletion, Listing, NewTags, Renewal, Wait};
use crate::session::Session;

type Which = Reference<PeerId>;

/// What can be done with peers.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Let a device into networks by its public key; `rhyzomectl wg` makes the key as well
    Create(Create),
    /// List peers
    #[command(visible_alias = "ls")]
    List(List),
    /// Show a peer
    #[command(visible_alias = "show")]
    Get {
        /// Name or id
        peer: Which,
    },
    /// Change a peer
    Update(Update),
    /// Delete peers
    #[command(visible_alias = "rm")]
    Delete {
        /// Names or ids
        #[arg(required = true)]
        peers: Vec<Which>,
        #[command(flatten)]
        deletion: Deletion,
    },
}

/// Which peers to list.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    listing: Listing,
    /// Only those that may enter this network, by name or id
    #[arg(long)]
    network: Option<Reference<NetworkId>>,
}

/// A peer to make.
#[derive(Args, Debug)]
pub struct Create {
    /// Its name
    name: ResourceName,
    /// The device's public key, as wg(8) writes it
    #[arg(long, value_name = "KEY")]
    public_key: WgPublicKey,
    /// A network that it may enter, by name or id; may be given several times
    #[arg(long = "network", value_name = "NETWORK", required = true)]
    networks: Vec<Reference<NetworkId>>,
    #[command(flatten)]
    tags: NewTags,
    #[command(flatten)]
    wait: Wait,
}

/// A peer to change.
#[derive(Args, Debug)]
pub struct Update {
    /// Name or id
    peer: Which,
    #[command(flatten)]
    renewal: Renewal,
    /// Another public key
    #[arg(long, value_name = "KEY")]
    public_key: Option<WgPublicKey>,
    /// A network that it may enter, in place of those before; may be given several times
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<Reference<NetworkId>>,
    #[command(flatten)]
    wait: Wait,
}

impl Command {
    /// Does it.
    pub async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::List(List { listing, network }) => {
                let more = [("network", network.map(|network| network.to_string()))];
                resource::list::<Peer>(session, &listing, &more).await
            }
            Self::Get { peer } => resource::get::<Peer>(session, &peer).await,
            Self::Update(update) => update.run(session).await,
            Self::Delete { peers, deletion } => {
                resource::delete::<Peer>(session, &peers, &deletion).await?;
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> anyhow::Result<()> {
        let context = format!("peer {}", self.name);
        let spec = PeerSpec { public_key: self.public_key, networks: self.networks };
        let body = PeerCreate { name: self.name, tags: self.tags.tags(), spec };
        let accepted = session.client.create::<Peer>(&body).await.context(context)?;
        resource::accepted_now(session, accepted, self.wait).await
    }
}

impl Update {
    async fn run(self, session: &Session) -> anyhow::Result<()> {
        let mut spec = Map::new();
        if let Some(key) = self.public_key {
            spec.insert("public_key".to_owned(), json!(key));
        }
        if !self.networks.is_empty() {
            spec.insert("networks".to_owned(), json!(self.networks));
        }
        let patch = self.renewal.patch(spec)?;
        resource::update::<Peer>(session, &self.peer, &patch, self.wait).await
    }
}
