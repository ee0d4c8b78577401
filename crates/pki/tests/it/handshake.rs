//! Handshakes between configurations made by this crate, in memory.

use std::io::ErrorKind;
use std::sync::Arc;

use pki::{Alpn, Authority, ClientAuth, KeyedCertificate, Roots, client_config, identity_of, server_config};
use rustls::{ClientConnection, ServerConnection};

use crate::{agent, authority, days, identity, names, now, server};

/// Both sides after a handshake that went well.
struct Pair {
    client: ClientConnection,
    server: ServerConnection,
}

fn shake(
    trusted: &Authority,
    shown: KeyedCertificate,
    clients: &ClientAuth,
    own: Option<KeyedCertificate>,
) -> Result<Pair, String> {
    shake_as("core.example.org", &trusted.roots().unwrap(), shown, clients, own)
}

fn shake_as(
    name: &str,
    roots: &Roots,
    shown: KeyedCertificate,
    clients: &ClientAuth,
    own: Option<KeyedCertificate>,
) -> Result<Pair, String> {
    let server = server_config(shown, clients, Alpn::Either).unwrap();
    let client = client_config(roots, own, Alpn::Http2).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), names(&[name]).remove(0)).unwrap();
    for _ in 0..20 {
        carry(|bytes| client.write_tls(bytes), |bytes| server.read_tls(bytes));
        server.process_new_packets().map_err(|error| format!("server: {error}"))?;
        carry(|bytes| server.write_tls(bytes), |bytes| client.read_tls(bytes));
        client.process_new_packets().map_err(|error| format!("client: {error}"))?;
        if !client.is_handshaking() && !server.is_handshaking() && !client.wants_write() && !server.wants_write() {
            return Ok(Pair { client, server });
        }
    }
    Err("the handshake does not end".to_owned())
}

fn carry(
    mut write: impl FnMut(&mut dyn std::io::Write) -> std::io::Result<usize>,
    mut read: impl FnMut(&mut dyn std::io::Read) -> std::io::Result<usize>,
) {
    let mut bytes = Vec::new();
    while write(&mut bytes).unwrap() > 0 {}
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        match read(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
}

fn refusal(result: Result<Pair, String>) -> String {
    let Err(reason) = result else { panic!("the handshake succeeded") };
    reason
}

fn asking(authority: &Authority) -> ClientAuth {
    ClientAuth::Optional { ca: authority.roots().unwrap() }
}

#[test]
fn an_agent_is_known_by_its_certificate() {
    let ours = authority();
    let shown = server(&ours, "core.example.org", now());
    let pair = shake(&ours, shown, &asking(&ours), Some(agent(&ours, now()))).unwrap();
    assert_eq!(identity_of(pair.server.peer_certificates().unwrap()).unwrap(), identity());
    assert_eq!(pair.client.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn a_client_without_a_certificate_has_no_identity() {
    let ours = authority();
    let pair = shake(&ours, server(&ours, "core.example.org", now()), &asking(&ours), None).unwrap();
    assert!(pair.server.peer_certificates().is_none());
    assert!(identity_of(&[]).is_err());
}

#[test]
fn a_server_of_another_ca_is_refused() {
    let (ours, theirs) = (authority(), authority());
    let reason = refusal(shake(&ours, server(&theirs, "core.example.org", now()), &ClientAuth::None, None));
    assert!(reason.contains("client: ") && reason.contains("UnknownIssuer"), "{reason}");
}

#[test]
fn an_agent_of_another_ca_is_refused() {
    let (ours, theirs) = (authority(), authority());
    let shown = server(&ours, "core.example.org", now());
    let reason = refusal(shake(&ours, shown, &asking(&ours), Some(agent(&theirs, now()))));
    assert!(reason.contains("server: ") && reason.contains("UnknownIssuer"), "{reason}");
}

#[test]
fn expired_certificates_are_refused_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::init(&dir.path().join("ca"), now() - days(500)).unwrap();
    let old = shake(&ours, server(&ours, "core.example.org", now() - days(399)), &ClientAuth::None, None);
    let reason = refusal(old);
    assert!(reason.contains("client: ") && reason.contains("expired"), "{reason}");

    let shown = server(&ours, "core.example.org", now());
    let reason = refusal(shake(&ours, shown, &asking(&ours), Some(agent(&ours, now() - days(91)))));
    assert!(reason.contains("server: ") && reason.contains("expired"), "{reason}");
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    let ours = authority();
    let reason = refusal(shake(&ours, server(&ours, "other.example.org", now()), &ClientAuth::None, None));
    assert!(reason.contains("not valid for name"), "{reason}");
}

#[test]
fn an_address_is_a_name_too() {
    let ours = authority();
    let shown = server(&ours, "127.0.0.1", now());
    shake_as("127.0.0.1", &ours.roots().unwrap(), shown, &ClientAuth::None, None).unwrap();
}

#[test]
fn a_server_certificate_makes_no_agent_and_an_agent_no_server() {
    let ours = authority();
    let shown = server(&ours, "core.example.org", now());
    let reason = refusal(shake(&ours, shown, &asking(&ours), Some(server(&ours, "core.example.org", now()))));
    assert!(reason.contains("server: "), "{reason}");
    let reason = refusal(shake(&ours, agent(&ours, now()), &ClientAuth::None, None));
    assert!(reason.contains("client: "), "{reason}");
}
