//! The leases that dnsmasq has given out, read from its files.

use crate::json::{Json, Members, object};

/// One IPv4 lease of a lease file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When it ends, in seconds since 1970; 0 is never.
    pub ends: u64,
    /// The client's MAC address, in upper case.
    pub mac: String,
    /// The address.
    pub address: String,
    /// The host's name, if it has one.
    pub hostname: Option<String>,
    /// The client's id, in hex digits, if it gave one.
    pub client_id: Option<String>,
}

/// Reads a lease file: a line a lease, `ends mac address name client-id`. IPv6 leases, which stand behind a line of
/// their own, are left out.
#[must_use]
pub fn parse(text: &str) -> Vec<Lease> {
    text.lines().take_while(|line| !line.starts_with("duid ")).filter_map(lease).collect()
}

fn lease(line: &str) -> Option<Lease> {
    let mut fields = line.split(' ');
    let (ends, mac, address) = (fields.next()?.parse().ok()?, fields.next()?, fields.next()?);
    let given = |text: &str| (text != "*").then(|| text.to_owned());
    let (hostname, client_id) = (fields.next().and_then(given), fields.next().and_then(given));
    Some(Lease {
        ends,
        // What is no Ethernet has its kind before the address.
        mac: mac.split_once('-').map_or(mac, |(_, mac)| mac).to_ascii_uppercase(),
        address: address.to_owned(),
        hostname,
        client_id: client_id.map(|id| id.replace(':', "").to_ascii_uppercase()),
    })
}

/// The leases as `luci-rpc getDHCPLeases` tells them.
#[must_use]
pub fn to_members(leases: &[Lease], now: u64, ipv4: bool, ipv6: bool) -> Members {
    let mut members = Vec::new();
    if ipv4 {
        let leases = leases.iter().map(|lease| lease.to_json(now)).collect();
        members.push(("dhcp_leases".to_owned(), Json::Array(leases)));
    }
    if ipv6 {
        members.push(("dhcp6_leases".to_owned(), Json::Array(Vec::new())));
    }
    members
}

impl Lease {
    fn to_json(&self, now: u64) -> Json {
        let expires = match self.ends {
            0 => Json::Bool(false),
            ends => ends.saturating_sub(now).into(),
        };
        let Json::Object(mut members) = object([("expires", expires)]) else { return Json::Null };
        let mut put = |name: &str, value: Option<&String>| {
            members.extend(value.map(|value| (name.to_owned(), Json::from(value.as_str()))));
        };
        put("hostname", self.hostname.as_ref());
        put("macaddr", Some(&self.mac));
        put("duid", self.client_id.as_ref());
        put("ipaddr", Some(&self.address));
        Json::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_with_and_without_names() {
        let leases = parse(
            "1700000100 02:00:00:00:20:aa 10.20.30.50 pc2 01:02:00:00:00:20:aa\n0 02:00:00:00:20:01 10.20.30.11 * *\n\
             duid 00:01\n1700 1 fd00::1 x 00:01\n",
        );
        let text = serde_json::to_string(&Json::Object(to_members(&leases, 1_700_000_000, true, true))).unwrap();
        assert_eq!(
            text,
            r#"{"dhcp_leases":[{"expires":100,"hostname":"pc2","macaddr":"02:00:00:00:20:AA","duid":"010200000020AA","ipaddr":"10.20.30.50"},{"expires":false,"macaddr":"02:00:00:00:20:01","ipaddr":"10.20.30.11"}],"dhcp6_leases":[]}"#
        );
    }
}
