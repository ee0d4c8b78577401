//! `rhyzomectl wg`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use api::{Peer, Reference};
use clap::{Args, Subcommand};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use types::{NetworkId, ResourceName, SecretText};

use super::resource::find;
use crate::default_network;
use crate::device::Device;
use crate::failure::WrongUsage;
use crate::key::WireguardKey;
use crate::output::{print, say};
use crate::session::Session;
use crate::wg_quick;

/// How a device gets its configuration. The key pair is made on this machine; the server gets the public half only.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Print one configuration for all networks of a device, as wg-quick(8) reads it
    Config {
        #[command(flatten)]
        which: Which,
        /// Write it to a file that only you can read
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show the same as a QR code, for the app of a phone
    Qr {
        #[command(flatten)]
        which: Which,
    },
}

/// The device.
#[derive(Args, Debug)]
pub struct Which {
    /// The device's name, which is its peer's too [user and machine]
    name: Option<ResourceName>,
    #[arg(long = "name", value_name = "NAME", hide = true, conflicts_with = "name")]
    option_name: Option<ResourceName>,
    /// A network that it may enter, in place of those before; may be given several times [the default network]
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<Reference<NetworkId>>,
}

impl Command {
    /// Does it.
    pub async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::Config { which, output: None } => print(which.config(session).await?.reveal()),
            Self::Config { which, output: Some(file) } => {
                let config = which.config(session).await?;
                config::file::write_private(&file, config.reveal().as_bytes())?;
                say(&format!("wrote {0} (bring it up with: wg-quick up {0})", file.display()));
                Ok(())
            }
            Self::Qr { which } => {
                let config = which.config(session).await?;
                let code = QrCode::new(config.reveal().as_bytes()).context("too many networks for a QR code")?;
                let picture = code.render::<Dense1x2>().build();
                print(&format!("{picture}\n"))
            }
        }
    }
}

impl Which {
    /// The device's configuration, once the routers let it in.
    async fn config(self, session: &Session) -> anyhow::Result<SecretText> {
        let name = match self.name.or(self.option_name) {
            Some(name) => name,
            None => Device::usual_name(&session.home)?,
        };
        let device = Device::named(&session.home, name)?;
        let networks = ids(session, &self.networks).await?;
        let change = match device.find(&session.client).await? {
            None => {
                let networks = match networks.is_empty() {
                    true => vec![default_network::existing(session).await?.ok_or_else(|| {
                        WrongUsage("there is no default network: name one with --network".to_owned())
                    })?],
                    false => networks,
                };
                say(&format!("registering peer {}", device.name));
                device.register(&session.client, networks).await?
            }
            Some(peer) if networks.is_empty() || same(&peer, &networks) => None,
            Some(_) => Some(device.set_networks(&session.client, &networks).await?),
        };
        let Some(peer) = device.applied(&session.client, change).await? else {
            bail!("peer {} was deleted meanwhile", device.name);
        };
        wg_quick::config(&peer, &WireguardKey::read(&device.key_file)?.private)
    }
}

/// The networks by id, each of which must be there.
async fn ids(session: &Session, networks: &[Reference<NetworkId>]) -> anyhow::Result<Vec<Reference<NetworkId>>> {
    let mut ids = Vec::new();
    for which in networks {
        let network: api::Network = find(session, which).await?;
        ids.push(Reference::Id(network.id));
    }
    Ok(ids)
}

fn same(peer: &Peer, networks: &[Reference<NetworkId>]) -> bool {
    let sorted = |networks: &[Reference<NetworkId>]| {
        let mut networks = networks.to_vec();
        networks.sort();
        networks.dedup();
        networks
    };
    sorted(&peer.spec.networks) == sorted(networks)
}
