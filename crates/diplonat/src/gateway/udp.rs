//! A question and its answer over UDP, asked again where packets are lost.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::Refusal;

/// Where NAT-PMP and PCP listen.
pub const PORT: u16 = 5351;
/// How long each try waits for an answer. A gateway is a hop away; one that thinks for longer than all of it hangs.
const TRIES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Sends a packet from `local` to the gateway until `read` makes something of an answer.
pub async fn ask<T>(
    local: Ipv4Addr,
    gateway: Ipv4Addr,
    packet: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, Refusal> {
    let failed = |error: io::Error| Refusal::Silent(format!("{gateway} udp/{PORT}: {error}"));
    let socket = UdpSocket::bind(SocketAddrV4::new(local, 0)).await.map_err(failed)?;
    // What others than the gateway send does not come through.
    socket.connect(SocketAddrV4::new(gateway, PORT)).await.map_err(failed)?;
    let mut buffer = [0; 1100];
    for wait in TRIES {
        let until = Instant::now() + wait;
        socket.send(packet).await.map_err(failed)?;
        while let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await {
            if let Some(answer) = read(&buffer[..received.map_err(failed)?]) {
                return Ok(answer);
            }
        }
    }
    Err(Refusal::Silent(format!("{gateway} udp/{PORT}: no answer")))
}
