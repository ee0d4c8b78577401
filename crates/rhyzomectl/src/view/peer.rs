//! Peers.

use api::Peer;
use types::Tags;

use super::{Names, View, known};
use crate::output::Facts;

impl View for Peer {
    const COLUMNS: &'static [&'static str] = &["NAME", "ID", "STATE", "ADDRESS", "NETWORKS", "PUBLIC KEY"];

    fn row(&self, _names: &Names) -> Vec<String> {
        let networks: Vec<String> = self.status.networks.iter().map(|network| network.name.to_string()).collect();
        vec![
            self.name.to_string(),
            self.id.to_string(),
            self.state.as_str().to_owned(),
            known(self.status.address.as_ref()),
            networks.join(","),
            self.spec.public_key.to_string(),
        ]
    }

    fn highlights(&self, _names: &Names) -> Facts {
        vec![("address", known(self.status.address.as_ref()))]
    }

    fn particulars(&self, _names: &Names) -> Facts {
        let network = |network: &api::peer::PeerNetwork| match &network.endpoint {
            Some(endpoint) => format!("{} ({}) at {endpoint}", network.name, network.subnet),
            None => format!("{} ({})", network.name, network.subnet),
        };
        let networks: Vec<String> = self.status.networks.iter().map(network).collect();
        vec![("networks", networks.join("\n")), ("public key", self.spec.public_key.to_string())]
    }

    fn loss(&self) -> String {
        "and its device can enter no network any more".to_owned()
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }
}
