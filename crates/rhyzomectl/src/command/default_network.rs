//! `rhyzomectl default-network`.

use api::{Network, Reference};
use clap::Args;
use types::NetworkId;

use super::resource::find;
use crate::default_network;
use crate::output::say;
use crate::session::Session;

/// The network of instances that name none: shown, chosen or forgotten.
#[derive(Args, Debug)]
pub struct DefaultNetwork {
    /// The network to choose, by name or id
    #[arg(conflicts_with = "unset")]
    network: Option<Reference<NetworkId>>,
    /// Forget the choice
    #[arg(long)]
    unset: bool,
}

impl DefaultNetwork {
    /// Does it.
    pub async fn run(self, session: &Session) -> anyhow::Result<()> {
        if self.unset {
            default_network::choose(session, None)?;
            say("no network is the default by choice any more");
            return Ok(());
        }
        if let Some(which) = self.network {
            let network: Network = find(session, &which).await?;
            default_network::choose(session, Some(which))?;
            say(&format!("instances that name no network go into {}", network.name));
            return Ok(());
        }
        let chosen = default_network::chosen(session)?;
        match &chosen {
            Some(which) => session.format.one(&chosen, || vec![("network", which.to_string())]),
            None => {
                say("none is chosen: instances that name no network go into \"default\"");
                session.format.one(&chosen, Vec::new)
            }
        }
    }
}
