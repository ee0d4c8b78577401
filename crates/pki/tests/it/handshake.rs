//! Handshakes between configurations made by this crate, in memory.

use std::io::ErrorKind;
use std::sync::Arc;

use pki::{Alpn, Authority, ClientAuth, Issuer, Judge, KeyedCertificate, Roots, Shown, client_config, server_config};
use rustls::{ClientConnection, ServerConnection};
use time::OffsetDateTime;

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

/// What a client's certificate is worth to a server of `ours` after a handshake that went well.
fn shown(ours: &Authority, client: Option<KeyedCertificate>, at: OffsetDateTime) -> Shown {
    let pair = shake(ours, server(ours, "core.example.org", now()), &ClientAuth::Asked, client).unwrap();
    judge(ours, None).judge(pair.server.peer_certificates().unwrap_or_default(), at)
}

fn judge(ours: &Authority, others: Option<&Authority>) -> Judge {
    let others = others.map(|others| others.roots().unwrap());
    Judge::new(&ours.roots().unwrap(), others.as_ref()).unwrap()
}

#[test]
fn an_agent_is_known_by_its_certificate() {
    let ours = authority();
    let shown = server(&ours, "core.example.org", now());
    let own = agent(&ours, now());
    let until = own.facts().not_after;
    let pair = shake(&ours, shown, &ClientAuth::Asked, Some(own)).unwrap();
    let worth = judge(&ours, None).judge(pair.server.peer_certificates().unwrap(), now());
    assert_eq!(worth, Shown::Agent { identity: identity(), issuer: Issuer::Ours, until });
    assert_eq!(pair.client.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn a_client_without_a_certificate_has_no_identity() {
    let ours = authority();
    assert_eq!(shown(&ours, None, now()), Shown::Nothing);
}

#[test]
fn a_server_of_another_ca_is_refused() {
    let (ours, theirs) = (authority(), authority());
    let reason = refusal(shake(&ours, server(&theirs, "core.example.org", now()), &ClientAuth::None, None));
    assert!(reason.contains("client: ") && reason.contains("UnknownIssuer"), "{reason}");
}

#[test]
fn an_agent_of_another_ca_is_foreign_unless_that_one_is_believed() {
    let (ours, theirs) = (authority(), authority());
    let issuer = theirs.facts().subject.clone();
    assert_eq!(shown(&ours, Some(agent(&theirs, now())), now()), Shown::Foreign { issuer });

    let own = agent(&theirs, now());
    let (chain, until) = ([own.certificate().clone()], own.facts().not_after);
    let worth = judge(&ours, Some(&theirs)).judge(&chain, now());
    assert_eq!(worth, Shown::Agent { identity: identity(), issuer: Issuer::Other, until });
    let worth = judge(&ours, Some(&theirs)).judge(&chain, until + days(1));
    assert_eq!(worth, Shown::Expired { identity: identity(), issuer: Issuer::Other, since: until });
}

#[test]
fn an_agent_s_certificate_is_good_in_its_time_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::init(&dir.path().join("ca"), now() - days(500)).unwrap();
    let own = agent(&ours, now() - days(91));
    let since = own.facts().not_after;
    let expired = Shown::Expired { identity: identity(), issuer: Issuer::Ours, since };
    assert_eq!(shown(&ours, Some(own), now()), expired);

    let early = agent(&ours, now() + days(2));
    let from = early.facts().not_before;
    assert_eq!(shown(&ours, Some(early), now()), Shown::NotYetValid { from });

    let theirs = Authority::init(&dir.path().join("theirs"), now() - days(500)).unwrap();
    let worth = shown(&ours, Some(agent(&theirs, now() - days(91))), now());
    assert!(matches!(worth, Shown::Foreign { .. }), "an expired one of another CA is foreign first: {worth:?}");
}

#[test]
fn an_expired_server_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::init(&dir.path().join("ca"), now() - days(500)).unwrap();
    let old = shake(&ours, server(&ours, "core.example.org", now() - days(399)), &ClientAuth::None, None);
    let reason = refusal(old);
    assert!(reason.contains("client: ") && reason.contains("expired"), "{reason}");
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
    let worth = shown(&ours, Some(server(&ours, "core.example.org", now())), now());
    assert_eq!(worth, Shown::Wrong("it is not made for a client".to_owned()));
    let reason = refusal(shake(&ours, agent(&ours, now()), &ClientAuth::None, None));
    assert!(reason.contains("client: "), "{reason}");
}
