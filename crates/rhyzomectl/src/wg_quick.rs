//! Configurations as wg-quick(8) and the apps of phones read them.

use std::fmt::Write;

use anyhow::{Context, bail};
use api::Peer;
use types::{SecretText, WgPrivateKey};

/// Seconds between packets that keep the way open through a NAT.
const KEEPALIVE_SECONDS: u16 = 25;

/// One configuration for all networks of a peer, each a [Peer] of its own.
pub fn config(peer: &Peer, key: &WgPrivateKey) -> anyhow::Result<SecretText> {
    let address = peer.status.address.with_context(|| format!("peer {} has no address", peer.name))?;
    if peer.status.networks.is_empty() {
        bail!("peer {} may enter no network", peer.name);
    }
    let mut text =
        format!("# {}\n[Interface]\nPrivateKey = {}\nAddress = {address}/32\n", peer.name, key.reveal().reveal());
    for network in &peer.status.networks {
        let endpoint = network.endpoint.as_ref().with_context(|| {
            format!("the router of network {} has not said yet where its WireGuard server is", network.name)
        })?;
        write!(
            text,
            "\n# network {}\n[Peer]\nPublicKey = {}\nEndpoint = {endpoint}\nAllowedIPs = {}\n\
             PersistentKeepalive = {KEEPALIVE_SECONDS}\n",
            network.name, network.public_key, network.subnet
        )?;
    }
    Ok(SecretText::new(text))
}
