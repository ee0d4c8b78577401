//! SSDP: asks for gateways by UDP, the default route's first.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::http::trusted;

/// Where devices listen, and the group they listen to.
const PORT: u16 = 1900;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// What is asked for.
const TARGETS: [&str; 2] =
    ["urn:schemas-upnp-org:device:InternetGatewayDevice:2", "urn:schemas-upnp-org:device:InternetGatewayDevice:1"];
/// How long the first answer may take, and how often is asked in that time.
const PATIENCE: Duration = Duration::from_millis(2500);
const ASK_AGAIN: Duration = Duration::from_millis(800);
/// How long others may take after the first.
const GATHER: Duration = Duration::from_millis(300);
/// Answers that are looked at; a flood ends here.
const MOST: usize = 64;
/// Descriptions that are worth a look.
const MOST_LOCATIONS: usize = 8;

/// Where gateways say their descriptions are: at one of `hosts`, and nowhere else. The first that answered is first.
pub async fn search(local: Ipv4Addr, gateway: Ipv4Addr, hosts: &[Ipv4Addr]) -> io::Result<Vec<reqwest::Url>> {
    let socket = socket(local)?;
    let start = Instant::now();
    let (mut until, mut found, mut ask_at) = (start + PATIENCE, BTreeSet::new(), start);
    let (mut locations, mut buffer, mut answers) = (Vec::new(), [0; 2048], 0);
    while Instant::now() < until && answers < MOST && locations.len() < MOST_LOCATIONS {
        if Instant::now() >= ask_at && locations.is_empty() {
            ask(&socket, gateway).await;
            ask_at += ASK_AGAIN;
        }
        let wake = until.min(ask_at.max(Instant::now() + Duration::from_millis(10)));
        let Ok(Ok((length, _))) = timeout_at(wake, socket.recv_from(&mut buffer)).await else { continue };
        answers += 1;
        let Some(location) = location(&buffer[..length]) else { continue };
        match trusted(&location, None, hosts) {
            Ok(url) if found.insert(url.to_string()) => {
                until = until.min(Instant::now() + GATHER);
                locations.push(url);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "an answer to the search for gateways is left aside"),
        }
    }
    Ok(locations)
}

fn socket(local: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_if_v4(&local)?;
    socket.set_multicast_ttl_v4(2)?;
    socket.bind(&SockAddr::from(SocketAddrV4::new(local, 0)))?;
    UdpSocket::from_std(socket.into())
}

/// A host without a route for the group, or a gateway that refuses, must not keep the other question from being asked.
async fn ask(socket: &UdpSocket, gateway: Ipv4Addr) {
    for to in [gateway, GROUP] {
        for target in TARGETS {
            let question = format!(
                "M-SEARCH * HTTP/1.1\r\nHOST: {GROUP}:{PORT}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {target}\r\n\r\n"
            );
            if let Err(error) = socket.send_to(question.as_bytes(), SocketAddr::from((to, PORT))).await {
                tracing::debug!(%to, %error, "the search for gateways cannot be sent");
            }
        }
    }
}

/// The header LOCATION of an answer that says 200.
fn location(packet: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(packet);
    let mut lines = text.lines();
    lines.next()?.split_whitespace().nth(1).filter(|status| *status == "200")?;
    lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_location_is_read_from_an_answer_and_from_nothing_else() {
        let answer = b"HTTP/1.1 200 OK\r\nST: x\r\nlocation:http://192.168.1.1:5000/d.xml\r\n\r\n";
        assert_eq!(location(answer).unwrap(), "http://192.168.1.1:5000/d.xml");
        assert_eq!(location(b"NOTIFY * HTTP/1.1\r\nLOCATION: http://192.168.1.1/\r\n\r\n"), None);
        assert_eq!(location(b"\xff\xfe"), None);
    }
}
