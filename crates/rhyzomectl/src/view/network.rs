//! Networks.

use api::Network;
use api::network::Isolation;
use types::Tags;

use super::{Names, View, known};
use crate::output::Facts;
use crate::value::show_seconds;

impl View for Network {
    const COLUMNS: &'static [&'static str] = &["NAME", "ID", "STATE", "SUBNET", "ISOLATION", "WIREGUARD"];

    fn row(&self, _names: &Names) -> Vec<String> {
        vec![
            self.name.to_string(),
            self.id.to_string(),
            self.state.as_str().to_owned(),
            known(self.spec.subnet.as_ref()),
            isolation(self.spec.isolation).to_owned(),
            known(self.status.wireguard_endpoint.as_ref()),
        ]
    }

    fn highlights(&self, _names: &Names) -> Facts {
        vec![("subnet", known(self.spec.subnet.as_ref()))]
    }

    fn particulars(&self, _names: &Names) -> Facts {
        let dhcp = &self.spec.dhcp;
        let range = dhcp.range.map_or_else(|| "on".to_owned(), |range| format!("{}-{}", range.start, range.end));
        let servers: Vec<String> = self.spec.dns.servers.iter().map(ToString::to_string).collect();
        vec![
            ("router address", known(self.spec.router_address.as_ref())),
            ("mtu", self.spec.mtu.to_string()),
            ("isolation", isolation(self.spec.isolation).to_owned()),
            ("dhcp", if dhcp.enabled { range } else { "off".to_owned() }),
            ("lease time", show_seconds(dhcp.lease_seconds.into())),
            ("dns domain", known(self.spec.dns.domain.as_ref())),
            ("dns servers", servers.join(", ")),
            ("router", known(self.status.router.as_ref())),
            ("wireguard", known(self.status.wireguard_endpoint.as_ref())),
            ("wireguard key", known(self.status.wireguard_public_key.as_ref())),
        ]
    }

    fn loss(&self) -> String {
        "with its DHCP, DNS, firewall zone and WireGuard server".to_owned()
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }
}

fn isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Internet => "internet",
        Isolation::Open => "open",
        Isolation::Closed => "closed",
    }
}
