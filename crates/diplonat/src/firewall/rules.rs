//! What the firewall is to let through: sets of ports, and of networks that may reach ports.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::exposure::{Exposure, Transport};

/// Everything that is to be let through: a whole state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Ports for everybody.
    pub open: BTreeSet<(Transport, u16)>,
    /// Ports for some.
    pub limited: BTreeSet<(Transport, u16)>,
    /// Those some, in networks that do not overlap.
    pub from: BTreeSet<(Transport, IpNet, u16)>,
}

impl Rules {
    /// The rules for these exposures. Two exposures may lead to one port of the host: who may reach one may reach it.
    pub fn of<'e>(exposures: impl IntoIterator<Item = &'e Exposure>) -> Self {
        let mut rules = Self::default();
        let mut from = BTreeSet::new();
        for exposure in exposures {
            let port = (exposure.port.transport, exposure.to.get());
            match exposure.from.is_empty() {
                true => drop(rules.open.insert(port)),
                false => {
                    rules.limited.insert(port);
                    from.extend(exposure.from.iter().map(|network| (port, *network)));
                }
            }
        }
        rules.limited.retain(|port| !rules.open.contains(port));
        for (transport, port) in &rules.limited {
            let networks: Vec<_> =
                from.iter().filter(|(of, _)| of == &(*transport, *port)).map(|(_, net)| *net).collect();
            rules.from.extend(apart(&networks).into_iter().map(|network| (*transport, network, *port)));
        }
        rules
    }

    /// The ports that these let through and others do not.
    pub fn beyond(&self, others: &Self) -> BTreeSet<(Transport, u16)> {
        let mut ports: BTreeSet<_> = self.open.difference(&others.open).copied().collect();
        let lost = self.from.difference(&others.from).map(|(transport, _, port)| (*transport, *port));
        ports.extend(lost.filter(|port| !others.open.contains(port)));
        ports
    }
}

/// The same addresses in networks that do not overlap. The net of all is halved: the kernel's sets do not take it.
fn apart(networks: &[IpNet]) -> Vec<IpNet> {
    let halved = IpNet::aggregate(&networks.to_vec()).into_iter().flat_map(|network| match network.prefix_len() {
        0 => halves(network),
        _ => vec![network],
    });
    halved.collect()
}

fn halves(all: IpNet) -> Vec<IpNet> {
    let texts: [&str; 2] = match all {
        IpNet::V4(_) => ["0.0.0.0/1", "128.0.0.0/1"],
        IpNet::V6(_) => ["::/1", "8000::/1"],
    };
    texts.iter().map(|text| text.parse().expect("invariant: both are networks")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposure::Wanted;
    use crate::tag;

    fn rules(tags: &[&str]) -> Rules {
        Rules::of(Wanted::of([tag::service("web", tags.iter().copied())], &[].into()).ports.values())
    }

    #[test]
    fn networks_do_not_overlap_and_open_wins() {
        let rules = rules(&[
            "(expose (tcp 80) (tcp 443 (to 8443) (from 10.0.0.0/8 10.1.0.0/16 0.0.0.0/0 fd00::/8)))",
            "(expose (tcp 8080 (to 80) (from 10.0.0.0/8)))",
        ]);
        assert_eq!(rules.open, [(Transport::Tcp, 80)].into());
        assert_eq!(rules.limited, [(Transport::Tcp, 8443)].into());
        let from: Vec<_> = rules.from.iter().map(|(_, network, port)| format!("{network} {port}")).collect();
        assert_eq!(from, ["0.0.0.0/1 8443", "128.0.0.0/1 8443", "fd00::/8 8443"]);
    }

    #[test]
    fn a_port_that_lost_a_network_has_closed_for_it() {
        let (before, after) = (
            rules(&["(expose (tcp 1 (from 10.0.0.0/8)) (tcp 2) (tcp 3))"]),
            rules(&["(expose (tcp 1 (from 11.0.0.0/8)) (tcp 2))"]),
        );
        assert_eq!(before.beyond(&after), [(Transport::Tcp, 1), (Transport::Tcp, 3)].into());
        assert_eq!(after.beyond(&rules(&["(expose (tcp 1) (tcp 2))"])), [].into());
    }
}
