//! Networks: what is valid, and what they take.

use api::{Fault, Network, NetworkSpec, NetworkStatus};
use store::{Constraint, StoreError};
use types::{HostAddr, HostRange, NetworkId, ResourceId, ResourceName, SecretText, Subnet, WgPrivateKey};

use super::{Asked, Ground, Managed, assemble};
use crate::executor::Step;
use crate::refusal::Refusal;
use crate::render::{WIREGUARD_KEY, wireguard_port};

/// The prefix of a subnet that nobody asked for by number.
const PREFIX: u8 = 24;
/// Shortest and longest lease, in seconds.
const LEASE_SECONDS: std::ops::RangeInclusive<u32> = 120..=604_800;
/// Servers for other names, at most.
const DNS_SERVERS: usize = 4;

impl Managed for Network {
    const CREATE: &'static [Step] = &[Step::Router];
    const UPDATE: &'static [Step] = &[Step::Router];
    const DELETE: &'static [Step] = &[Step::RouterGone];
    #[cfg(test)]
    const EXAMPLE: super::Example = super::Example { ground: &[], spec: r#"{}"#, change: r#"{"spec": {"mtu": 1400}}"# };

    fn make_id(unix_ms: u64) -> Result<NetworkId, types::IdError> {
        NetworkId::make(unix_ms)
    }

    fn asked(body: api::NetworkCreate) -> Asked<Self> {
        Asked { name: body.name, tags: body.tags, spec: body.spec, secret: None }
    }

    async fn check(
        ground: &mut Ground<'_, '_>,
        asked: &mut Asked<Self>,
        faults: &mut Vec<Fault>,
    ) -> Result<(), Refusal> {
        asked.spec.mtu = ground.core.segments.mtu(asked.spec.mtu);
        check_alone(&mut asked.spec, &asked.name, ground.core.pools.peers, faults);
        Ok(())
    }

    fn compare(before: &NetworkSpec, after: &mut NetworkSpec, faults: &mut Vec<Fault>) {
        after.subnet = after.subnet.or(before.subnet);
        after.router_address = after.router_address.or(before.router_address);
        after.dns.domain = after.dns.domain.take().or_else(|| before.dns.domain.clone());
        if after.subnet != before.subnet {
            faults.push(Fault::new("/spec/subnet", "the subnet cannot change"));
        }
        if after.router_address != before.router_address {
            faults.push(Fault::new("/spec/router_address", "the router's address cannot change"));
        }
    }

    async fn allot(
        ground: &mut Ground<'_, '_>,
        id: NetworkId,
        asked: &mut Asked<Self>,
    ) -> Result<NetworkStatus, Refusal> {
        let routers = ground.session.targets(&store::Caller::core(), Some("router")).await?;
        let router = routers
            .first()
            .map(|row| row.target.id)
            .ok_or_else(|| Refusal::Unavailable("no router has been invited yet".to_owned()))?;
        let slot = ground.session.take_slot(ground.caller, router, id).await?;
        wireguard_port(ground.core.wireguard_first_port, slot)?;
        let segment = ground.session.take_segment(ground.caller, id).await?;
        ground.core.segments.require(segment)?;
        let pool = (ground.core.pools.networks, PREFIX);
        let subnet = match ground.session.take_subnet(ground.caller, router, id, asked.spec.subnet, pool).await {
            Err(StoreError::Refused { constraint: Constraint::Unique }) => {
                return Err(Refusal::fault("/spec/subnet", "the subnet overlaps one that is in use: choose another"));
            }
            taken => taken?,
        };
        asked.spec.subnet = Some(subnet);
        let mut faults = Vec::new();
        check_addresses(&mut asked.spec, subnet, &mut faults);
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        let key = WgPrivateKey::generate()
            .map_err(|error| Refusal::Internal(anyhow::anyhow!("no randomness for a key: {error}")))?;
        let private: SecretText = key.reveal();
        ground.session.add_secret(ground.caller, id.into(), WIREGUARD_KEY, &private).await?;
        Ok(NetworkStatus { router: Some(router), wireguard_public_key: Some(key.public()), wireguard_endpoint: None })
    }

    fn references(_spec: &NetworkSpec) -> Vec<ResourceId> {
        Vec::new()
    }

    assemble!();
}

/// What can be judged from the spec alone; fills in the domain and, where the subnet is known, addresses.
fn check_alone(spec: &mut NetworkSpec, name: &ResourceName, peers: Subnet, faults: &mut Vec<Fault>) {
    if let Some(subnet) = spec.subnet {
        if subnet.overlaps(peers) {
            faults.push(Fault::new("/spec/subnet", "the subnet overlaps the addresses of peers: choose another"));
        }
        if ["127.0.0.0/8", "169.254.0.0/16"]
            .iter()
            .filter_map(|text| text.parse().ok())
            .any(|special| subnet.overlaps(special))
        {
            faults.push(Fault::new("/spec/subnet", "the subnet is reserved for loopback or link-local addresses"));
        }
        check_addresses(spec, subnet, faults);
    }
    if !LEASE_SECONDS.contains(&spec.dhcp.lease_seconds) {
        let expected = format!("expected {} to {} seconds", LEASE_SECONDS.start(), LEASE_SECONDS.end());
        faults.push(Fault::new("/spec/dhcp/lease_seconds", expected));
    }
    if spec.dns.servers.len() > DNS_SERVERS {
        faults.push(Fault::new("/spec/dns/servers", format!("expected {DNS_SERVERS} at most")));
    }
    if spec.dns.domain.is_none() {
        spec.dns.domain = format!("{name}.internal").parse().ok();
    }
}

/// Fills in the router's address and the DHCP range, and holds those that were asked for against the subnet.
fn check_addresses(spec: &mut NetworkSpec, subnet: Subnet, faults: &mut Vec<Fault>) {
    let router = spec.router_address.or_else(|| subnet.host(1));
    spec.router_address = router;
    let Some(router) = router else { return };
    if !subnet.has_host(router) {
        faults.push(Fault::new("/spec/router_address", format!("{router} is no host address of {subnet}")));
    }
    if !spec.dhcp.enabled {
        return;
    }
    match spec.dhcp.range {
        None => spec.dhcp.range = usual_range(subnet, router),
        Some(range) if range.start > range.end => {
            faults.push(Fault::new("/spec/dhcp/range", "the range ends before it starts"));
        }
        Some(range) => {
            for (field, address) in [("start", range.start), ("end", range.end)] {
                if !subnet.has_host(address) {
                    let field = format!("/spec/dhcp/range/{field}");
                    faults.push(Fault::new(field, format!("{address} is no host address of {subnet}")));
                }
            }
            if range.contains(router) {
                faults.push(Fault::new("/spec/dhcp/range", format!("the range holds the router's address {router}")));
            }
        }
    }
}

/// .10 to .100 of the subnet, as far as it goes; in a small one its upper half.
fn usual_range(subnet: Subnet, router: HostAddr) -> Option<HostRange> {
    let last = subnet.host_count();
    let (start, end) = if last >= 30 { (10, last.min(100)) } else { (last / 2 + 1, last) };
    let range = HostRange { start: subnet.host(start)?, end: subnet.host(end)? };
    (!range.contains(router)).then_some(range)
}

/// The addresses for instances: outside the DHCP range, above it first, never the router's.
pub(super) fn static_ranges(spec: &NetworkSpec) -> Vec<HostRange> {
    let (Some(subnet), Some(router)) = (spec.subnet, spec.router_address) else { return Vec::new() };
    let last = subnet.host_count();
    let mut taken = vec![(router.offset_in(subnet), router.offset_in(subnet))];
    if let (true, Some(range)) = (spec.dhcp.enabled, spec.dhcp.range) {
        taken.push((range.start.offset_in(subnet), range.end.offset_in(subnet)));
    }
    taken.sort_unstable();
    let mut free = Vec::new();
    let mut next = 1;
    for (start, end) in taken {
        free.push((next, start.saturating_sub(1)));
        next = end + 1;
    }
    free.push((next, last));
    free.retain(|(start, end)| start <= end);
    // The widest first: in the usual network that is what lies above the DHCP range.
    free.sort_by_key(|(start, end)| std::cmp::Reverse(end - start));
    free.into_iter()
        .filter_map(|(start, end)| Some(HostRange { start: subnet.host(start)?, end: subnet.host(end)? }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(subnet: &str) -> NetworkSpec {
        let mut spec = NetworkSpec { subnet: Some(subnet.parse().unwrap()), ..NetworkSpec::default() };
        let mut faults = Vec::new();
        check_alone(&mut spec, &"home".parse().unwrap(), "10.80.0.0/16".parse().unwrap(), &mut faults);
        assert_eq!(faults, []);
        spec
    }

    #[test]
    fn the_usual_network_has_the_usual_addresses() {
        let spec = spec("10.77.0.0/24");
        assert_eq!(spec.router_address.unwrap().to_string(), "10.77.0.1");
        let range = spec.dhcp.range.unwrap();
        assert_eq!((range.start.to_string().as_str(), range.end.to_string().as_str()), ("10.77.0.10", "10.77.0.100"));
        assert_eq!(spec.dns.domain.as_ref().unwrap().as_str(), "home.internal");
        let ranges: Vec<String> =
            static_ranges(&spec).iter().map(|range| format!("{}-{}", range.start, range.end)).collect();
        assert_eq!(ranges, ["10.77.0.101-10.77.0.254", "10.77.0.2-10.77.0.9"]);
    }

    #[test]
    fn a_small_network_still_has_room_for_instances() {
        let spec = spec("10.77.0.0/29");
        assert!(!static_ranges(&spec).is_empty());
        assert!(spec.dhcp.range.is_some());
        let tiny = self::spec("10.77.0.0/30");
        assert_eq!(tiny.dhcp.range.unwrap().start.to_string(), "10.77.0.2");
    }

    #[test]
    fn every_fault_is_named() {
        let mut spec = NetworkSpec {
            subnet: Some("10.80.3.0/24".parse().unwrap()),
            router_address: Some("10.9.9.9".parse().unwrap()),
            ..NetworkSpec::default()
        };
        spec.dhcp.lease_seconds = 5;
        spec.dhcp.range = Some(HostRange { start: "10.80.3.9".parse().unwrap(), end: "10.80.3.2".parse().unwrap() });
        let mut faults = Vec::new();
        check_alone(&mut spec, &"home".parse().unwrap(), "10.80.0.0/16".parse().unwrap(), &mut faults);
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["/spec/subnet", "/spec/router_address", "/spec/dhcp/range", "/spec/dhcp/lease_seconds"]);
    }
}
