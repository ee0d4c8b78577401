//! The holder: one process for each user and network that keeps the tunnel and hands out streams through it.
//!
//! Whoever may open its socket (its owner, by the directory's mode) sends one line that asks for a stream, gets one
//! line back, and from then on the socket is the stream. The holder leaves once nobody has wanted it for a while.

pub mod launch;
pub mod request;

mod client;
mod endpoint;
mod place;

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::ReadBuf;
use tokio::net::{UdpSocket, UnixListener};
use tokio::time::Sleep;
use types::WgPrivateKey;

use crate::tunnel::{Entrance, Tunnel};
use client::Client;
use endpoint::Endpoint;
pub use place::Place;

/// How long a holder stays that nobody uses.
pub const IDLE: Duration = Duration::from_secs(600);
/// Connections at one time: those with a stream and a few that ask for one.
const CLIENTS: usize = crate::tunnel::STREAMS + 16;
/// Datagrams taken in before others get their turn.
const BATCH: usize = 64;
/// The largest datagram that UDP carries.
const DATAGRAM: usize = 65_535;

/// Holds the tunnel through `entrance` behind the socket at `place` until nobody has used it for `idle`. Does nothing
/// where another process does so already.
pub async fn hold(entrance: Entrance, key: &WgPrivateKey, place: &Place, idle: Duration) -> anyhow::Result<()> {
    let Some(_lock) = place.lock()? else { return Ok(()) };
    let endpoint = Endpoint::resolve(&entrance.endpoint).await?;
    let listener = place.listen()?;
    let mut holder = Holder {
        udp: endpoint.bind().await?,
        datagram: vec![0; DATAGRAM].into_boxed_slice(),
        tunnel: Tunnel::new(entrance, key, random_seed()?, Instant::now()),
        endpoint,
        listener,
        clients: Vec::new(),
        alarm: Box::pin(tokio::time::sleep(idle)),
        idle_since: Instant::now(),
        idle,
    };
    let result = poll_fn(|context| holder.poll(context)).await;
    place.clear();
    result.context("the holder of the tunnel stopped")
}

fn random_seed() -> anyhow::Result<u64> {
    getrandom::u64().map_err(|error| anyhow::anyhow!("no randomness for a tunnel: {error}"))
}

struct Holder {
    tunnel: Tunnel,
    udp: UdpSocket,
    endpoint: Endpoint,
    listener: UnixListener,
    clients: Vec<Client>,
    datagram: Box<[u8]>,
    alarm: Pin<Box<Sleep>>,
    idle_since: Instant,
    idle: Duration,
}

impl Holder {
    /// Moves everything that can move; ready once nobody has used the tunnel for long enough.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let now = Instant::now();
            let mut moved = self.accept(context, now)?;
            for client in &mut self.clients {
                moved |= client.serve(context, &mut self.tunnel, self.endpoint.failure(), now);
            }
            if self.clients.iter().any(Client::is_dismissal) {
                return Poll::Ready(Ok(()));
            }
            self.clients.retain(|client| !client.is_done());
            self.tunnel.advance(now);
            moved |= self.send(context);
            moved |= self.receive(context, now);
            self.endpoint.look_up_again(context, self.tunnel.is_unheard(), now);
            if moved {
                continue;
            }
            if !self.clients.is_empty() || !self.tunnel.is_idle() {
                self.idle_since = now;
            }
            let left = self.idle.saturating_sub(now.saturating_duration_since(self.idle_since));
            if left.is_zero() {
                return Poll::Ready(Ok(()));
            }
            let next = [self.tunnel.quiet_for(now), client::patience(&self.clients, now)];
            let quiet = next.into_iter().flatten().fold(left, Duration::min);
            self.alarm.as_mut().reset((now + quiet).into());
            ready!(self.alarm.as_mut().poll(context));
        }
    }

    fn accept(&mut self, context: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        let mut moved = false;
        while self.clients.len() < CLIENTS {
            match self.listener.poll_accept(context) {
                Poll::Ready(Ok((socket, _))) => self.clients.push(Client::new(socket, now)),
                Poll::Ready(Err(error)) if is_passing(&error) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
            moved = true;
        }
        Ok(moved)
    }

    fn send(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some(datagram) = self.tunnel.datagram() {
            match self.udp.poll_send_to(context, datagram, self.endpoint.address()) {
                Poll::Pending => break,
                Poll::Ready(Ok(_)) => self.endpoint.forget_failure(),
                // Lost, as it could be on the way: both protocols send again.
                Poll::Ready(Err(error)) => self.endpoint.note_failure(&error),
            }
            self.tunnel.sent();
            moved = true;
        }
        moved
    }

    fn receive(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        let mut moved = false;
        for _ in 0..BATCH {
            let mut buffer = ReadBuf::new(&mut self.datagram);
            let Poll::Ready(result) = self.udp.poll_recv_from(context, &mut buffer) else { break };
            moved = true;
            // An error is about a datagram that was sent earlier, which counts as lost.
            if let Ok(source) = result
                && self.tunnel.receive(buffer.filled(), source.ip(), now)
            {
                self.endpoint.follow(source);
            }
        }
        moved
    }
}

/// Whether accepting failed for one connection only (accept(2)).
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}
