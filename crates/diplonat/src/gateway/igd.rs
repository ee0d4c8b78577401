//! UPnP's Internet Gateway Device, versions 1 and 2: its connection service makes mappings.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::{Client, Url};
use tokio::time::{Instant, timeout_at};

use super::description::{Service, is_connection, services};
use super::soap::{Fault, call};
use super::{Found, Grant, Refusal, Request, http, search};
use crate::exposure::PublicPort;

/// Leases that are tried one after the other, after the one asked for: some routers refuse all but 0, others refuse 0.
const LADDER: [u32; 3] = [86_400, 604_800, 0];
/// The longest description that miniupnpd keeps as it is.
const LONGEST_DESCRIPTION: usize = 63;
/// How long other gateways may take once one has shown itself to be good.
const GATHER: Duration = Duration::from_millis(500);

/// A connection service of a gateway.
pub struct Igd {
    client: Client,
    control: Url,
    service: String,
    lease: Mutex<Option<u32>>,
}

/// What a connection service says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The address outside.
    pub external: Option<Ipv4Addr>,
    /// For how long it has been connected, in seconds.
    pub uptime: Option<u32>,
    is_connected: bool,
}

impl Standing {
    /// Better is higher: connected, and with an address that the internet knows.
    fn score(self) -> u8 {
        let is_public = self.external.is_some_and(crate::gateway::is_public);
        u8::from(self.is_connected) * 2 + u8::from(is_public)
    }
}

/// Finds the best connection service at `hosts`, if there is one.
pub async fn find(local: Ipv4Addr, gateway: Ipv4Addr, hosts: &[Ipv4Addr]) -> io::Result<Option<Igd>> {
    let client = http::client(local).map_err(io::Error::other)?;
    let locations = search::search(local, gateway, hosts).await?;
    let mut looks: FuturesUnordered<_> = locations.into_iter().map(|url| candidates(&client, url, hosts)).collect();
    let (mut best, mut until) = (None::<(u8, Igd)>, Instant::now() + Duration::from_secs(12));
    while let Ok(Some(found)) = timeout_at(until, looks.next()).await {
        for (score, igd) in found {
            if best.as_ref().is_none_or(|(held, _)| score > *held) {
                best = Some((score, igd));
            }
        }
        if best.as_ref().is_some_and(|(score, _)| *score > 1) {
            until = until.min(Instant::now() + GATHER);
        }
    }
    Ok(best.map(|(_, igd)| igd))
}

/// The connection services of one description, with their scores.
async fn candidates(client: &Client, location: Url, hosts: &[Ipv4Addr]) -> Vec<(u8, Igd)> {
    let services = match describe(client, &location).await {
        Ok(services) => services,
        Err(error) => {
            tracing::debug!(%location, error, "a gateway's description cannot be read");
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for service in services.into_iter().filter(|service| is_connection(&service.kind)) {
        match http::trusted(&service.control, Some(&location), hosts) {
            Ok(control) => {
                let igd = Igd { client: client.clone(), control, service: service.kind, lease: Mutex::new(None) };
                if let Ok(standing) = igd.standing().await {
                    found.push((standing.score(), igd));
                }
            }
            Err(error) => tracing::debug!(error, "a service of a gateway is left aside"),
        }
    }
    found
}

async fn describe(client: &Client, location: &Url) -> Result<Vec<Service>, String> {
    let answer = http::send(client.get(location.clone())).await?;
    match answer.status {
        200 => services(&answer.body),
        status => Err(format!("HTTP status {status}")),
    }
}

impl Igd {
    /// Asks for the connection's status and its address outside.
    pub async fn standing(&self) -> Result<Standing, Refusal> {
        let status = call(&self.client, &self.control, &self.service, "GetStatusInfo", &[]).await;
        let address = call(&self.client, &self.control, &self.service, "GetExternalIPAddress", &[]).await;
        if let (Err(Fault::Silent(error)), Err(Fault::Silent(_))) = (&status, &address) {
            return Err(Refusal::Silent(error.clone()));
        }
        let status = status.unwrap_or_default();
        let external = address.ok().and_then(|values| values.get("newexternalipaddress")?.parse().ok());
        Ok(Standing {
            external: external.filter(|address: &Ipv4Addr| !address.is_unspecified()),
            uptime: status.get("newuptime").and_then(|uptime| uptime.parse().ok()),
            is_connected: status.get("newconnectionstatus").is_some_and(|is| is.eq_ignore_ascii_case("connected")),
        })
    }

    /// Who has a port outside.
    pub async fn look(&self, port: PublicPort) -> Result<Option<Found>, Refusal> {
        let number = port.number.to_string();
        let arguments = [("NewRemoteHost", ""), ("NewExternalPort", &*number), ("NewProtocol", protocol(port))];
        match call(&self.client, &self.control, &self.service, "GetSpecificPortMappingEntry", &arguments).await {
            Ok(values) => {
                let text = |name: &str| values.get(name).cloned().unwrap_or_default();
                let unreadable = |_| Refusal::Silent("GetSpecificPortMappingEntry: an answer without a client".into());
                Ok(Some(Found {
                    client: text("newinternalclient").parse().map_err(unreadable)?,
                    to: text("newinternalport").parse().unwrap_or_default(),
                    description: text("newportmappingdescription"),
                }))
            }
            Err(Fault::Refused(714, _)) => Ok(None),
            Err(fault) => Err(refusal(fault)),
        }
    }

    /// Makes or renews a mapping. Where the lease is the matter, the next rung of the ladder is tried, and remembered.
    pub async fn map(&self, request: &Request) -> Result<Grant, Refusal> {
        let mut refused = None;
        for lease in self.leases(request.lease) {
            match self.add(request, lease).await {
                Ok(()) => {
                    *self.lease.lock().expect("invariant: nothing panics while it holds the lease") = Some(lease);
                    return Ok(Grant { lease });
                }
                Err(fault @ Fault::Refused(402 | 725, _)) => refused = Some(fault),
                Err(fault) => return Err(refusal(fault)),
            }
        }
        Err(refused.map_or_else(|| Refusal::Other("no lease is left to try".into()), refusal))
    }

    /// The lease that this gateway took before, or else all rungs.
    fn leases(&self, asked: u32) -> Vec<u32> {
        let mut leases: Vec<_> =
            self.lease.lock().expect("invariant: nothing panics while it holds the lease").into_iter().collect();
        for lease in [asked].into_iter().chain(LADDER) {
            if !leases.contains(&lease) {
                leases.push(lease);
            }
        }
        leases
    }

    async fn add(&self, request: &Request, lease: u32) -> Result<(), Fault> {
        let (outside, inside) = (request.port.number.to_string(), request.to.to_string());
        let (client, lease) = (request.local.to_string(), lease.to_string());
        let arguments = [
            ("NewRemoteHost", ""),
            ("NewExternalPort", &*outside),
            ("NewProtocol", protocol(request.port)),
            ("NewInternalPort", &*inside),
            ("NewInternalClient", &*client),
            ("NewEnabled", "1"),
            ("NewPortMappingDescription", &request.description[..request.description.len().min(LONGEST_DESCRIPTION)]),
            ("NewLeaseDuration", &*lease),
        ];
        call(&self.client, &self.control, &self.service, "AddPortMapping", &arguments).await.map(drop)
    }

    /// Ends a mapping.
    pub async fn unmap(&self, port: PublicPort) -> Result<(), Refusal> {
        let number = port.number.to_string();
        let arguments = [("NewRemoteHost", ""), ("NewExternalPort", &*number), ("NewProtocol", protocol(port))];
        match call(&self.client, &self.control, &self.service, "DeletePortMapping", &arguments).await {
            Ok(_) | Err(Fault::Refused(714, _)) => Ok(()),
            Err(fault) => Err(refusal(fault)),
        }
    }
}

fn protocol(port: PublicPort) -> &'static str {
    match port.transport {
        crate::exposure::Transport::Tcp => "TCP",
        crate::exposure::Transport::Udp => "UDP",
    }
}

fn refusal(fault: Fault) -> Refusal {
    let (code, said) = match fault {
        Fault::Silent(error) => return Refusal::Silent(error),
        Fault::Refused(code, said) => (code, format!("UPnP error {code} {said}")),
    };
    match code {
        401 | 602 => Refusal::Unsupported(said),
        606 => Refusal::Forbidden(said),
        718 | 729 => Refusal::Taken(said),
        724 => Refusal::PortsMustBeEqual(said),
        728 => Refusal::Full(said),
        _ => Refusal::Other(said),
    }
}
