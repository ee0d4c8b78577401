//! The command's own way into networks: one device for each user and machine, let in where it is needed.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use api::peer::PeerNetwork;
use api::{Client, Peer, Reference};
use types::{NetworkId, OperationId};

use crate::device::Device;
use crate::holder::Place;
use crate::holder::launch::{Passage, dismiss};
use crate::home::Home;
use crate::output::say;
use crate::tunnel::Entrance;

/// How often to begin anew when something else changes the peer at the same time.
const TRIES: usize = 3;

/// The command's own device, and where the holders of its tunnels are.
pub struct Access {
    device: Device,
    directory: PathBuf,
}

impl Access {
    /// That of the user who runs this. The server need not know it yet.
    pub fn of(home: &Home) -> anyhow::Result<Self> {
        Ok(Self { device: Device::of_command(home)?, directory: home.runtime_directory()? })
    }

    /// The way into `network`, which is opened where it is not open yet.
    pub async fn passage(&self, client: &Client, network: NetworkId) -> anyhow::Result<Passage> {
        let name = &self.device.name;
        for _ in 0..TRIES {
            let change = match self.device.find(client).await? {
                None => {
                    say(&format!("letting this machine into the network (peer {name})"));
                    self.device.register(client, vec![Reference::Id(network)]).await?
                }
                Some(peer) if enters(&peer, network) => None,
                Some(peer) => {
                    say(&format!("letting this machine into the network as well (peer {name})"));
                    let networks: Vec<_> = peer.spec.networks.into_iter().chain([Reference::Id(network)]).collect();
                    Some(self.device.set_networks(client, &networks).await?)
                }
            };
            let applied = self.device.applied(client, change).await?;
            if let Some(peer) = applied.filter(|peer| enters(peer, network)) {
                return Passage::write(entrance(&peer, network)?, self.device.key_file.clone(), &self.directory);
            }
        }
        bail!("peer {name} keeps being changed by something else")
    }

    /// Forgets the tunnel into a network that is gone.
    pub async fn forget(&self, network: NetworkId) {
        dismiss(&Place::of(network, &self.directory)).await;
    }

    /// Gives up the way into `network` unless another peer has one too: the peer goes where that was its only way.
    pub async fn leave_if_alone(&self, client: &Client, network: NetworkId) -> anyhow::Result<Option<OperationId>> {
        let peers: Vec<Peer> = client.list().await?;
        let inside: Vec<Peer> = peers.into_iter().filter(|peer| enters(peer, network)).collect();
        let [peer] = &inside[..] else { return Ok(None) };
        if peer.name != self.device.name {
            return Ok(None);
        }
        let mut rest = peer.spec.networks.clone();
        rest.retain(|which| which.id() != Some(network));
        if !rest.is_empty() {
            return self.device.set_networks(client, &rest).await.map(Some);
        }
        let accepted = client.delete::<Peer>(&Reference::Id(peer.id)).await;
        Ok(Some(accepted.with_context(|| format!("peer {}", peer.name))?.operation))
    }
}

fn enters(peer: &Peer, network: NetworkId) -> bool {
    peer.spec.networks.iter().any(|which| which.id() == Some(network))
}

fn entrance(peer: &Peer, network: NetworkId) -> anyhow::Result<Entrance> {
    let address = peer.status.address.with_context(|| format!("peer {} has no address", peer.name))?;
    let found = peer.status.networks.iter().find(|found| found.network == network);
    let PeerNetwork { name, subnet, public_key, endpoint, .. } =
        found.cloned().ok_or_else(|| anyhow!("the server does not say how peer {} enters {network}", peer.name))?;
    let endpoint = endpoint.with_context(|| {
        format!("the router of network {name} has not said yet where its WireGuard server is (is its agent connected?)")
    })?;
    Ok(Entrance { network, name, address, subnet, public_key, endpoint })
}
