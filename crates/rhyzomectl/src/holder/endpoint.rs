//! Where the WireGuard server is: looked up once, and again while it does not answer.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::net::UdpSocket;

/// Time between two look-ups of a name whose server does not answer.
const AGAIN: Duration = Duration::from_secs(10);

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>>>>;

/// The WireGuard server's address, and what sending there came to.
pub(super) struct Endpoint {
    name: String,
    address: SocketAddr,
    failure: Option<String>,
    lookup: Option<Lookup>,
    looked_up: Instant,
}

impl Endpoint {
    /// Looks `name` (`host:port`) up.
    pub(super) async fn resolve(name: &str) -> anyhow::Result<Self> {
        let found = lookup(name.to_owned()).await.with_context(|| format!("cannot look up {name}"))?;
        let Some(address) = found.first().copied() else { bail!("{name} has no address") };
        Ok(Self { name: name.to_owned(), address, failure: None, lookup: None, looked_up: Instant::now() })
    }

    /// The address to send to.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server was heard from there: it may have moved (WireGuard, section 2.1).
    pub(super) fn follow(&mut self, source: SocketAddr) {
        self.address = source;
    }

    /// A socket that can send there. It is bound to no address, so that it survives a change of the machine's own.
    pub(super) async fn bind(&self) -> anyhow::Result<UdpSocket> {
        let local = match self.address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        UdpSocket::bind(local).await.context("cannot open a UDP socket")
    }

    /// What the system said last about sending, unless it has worked since.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(super) fn note_failure(&mut self, error: &io::Error) {
        self.failure = Some(error.to_string());
    }

    pub(super) fn forget_failure(&mut self) {
        self.failure = None;
    }

    /// While the server is `unheard`, looks its name up every now and then: it may have moved.
    pub(super) fn look_up_again(&mut self, context: &mut Context<'_>, unheard: bool, now: Instant) {
        let is_name = self.name.parse::<SocketAddr>().is_err();
        if self.lookup.is_none() && is_name && unheard && now.saturating_duration_since(self.looked_up) >= AGAIN {
            self.looked_up = now;
            self.lookup = Some(Box::pin(lookup(self.name.clone())));
        }
        let Some(lookup) = &mut self.lookup else { return };
        let Poll::Ready(found) = lookup.as_mut().poll(context) else { return };
        self.lookup = None;
        let same_family = |address: &SocketAddr| address.is_ipv4() == self.address.is_ipv4();
        if let Some(address) = found.ok().and_then(|found| found.into_iter().find(same_family)) {
            self.address = address;
        }
    }
}

async fn lookup(name: String) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host(name).await?.collect())
}
