//! Bytes that no honest side sends: every message of the protocol, both ways, and invitations.

use std::collections::BTreeMap;

use fuzz::Corpus;
use jobs::proto::{self, FromAgent, FromCore, from_agent, from_core};
use jobs::{EntryReport, Held, Hello, Invitation, Job, Outcome, Reading, Report, Want, Welcome, convert, desired};
use pki::Authority;
use prost::Message;
use serde_json::json;
use time::OffsetDateTime;
use types::{ClusterId, Epoch, InvitationId, PeerId, SecretText};

use crate::{job, network, version};

fn agent_says(body: from_agent::Body) -> Vec<u8> {
    FromAgent { body: Some(body) }.encode_to_vec()
}

fn core_says(body: from_core::Body) -> Vec<u8> {
    FromCore { body: Some(body) }.encode_to_vec()
}

#[test]
fn what_agents_say_is_read_or_refused() {
    let hello = Hello {
        protocol: 2,
        software: "test 1.0".to_owned(),
        features: vec!["vxlan".to_owned()],
        cluster: Some(ClusterId::from_bits(1)),
        epoch: Epoch(3),
        reading: Ok(Reading {
            held: vec![Held { object: network(1), version: version("1:2") }],
            capacity: Default::default(),
        }),
    };
    let entry = EntryReport { outcome: Outcome::Refused, reason: Some("no".to_owned()) };
    let report = Report {
        object: network(1),
        version: version("1:2"),
        outcome: Outcome::Retrying,
        reason: Some("busy".to_owned()),
        entries: BTreeMap::from([(PeerId::from_bits(1).into(), entry)]),
        status: Some(json!({"endpoint_host": "192.0.2.1"})),
    };
    let observation =
        convert::observation(network(1), &json!({"power": "running", "accelerator": null, "guest": null}));
    let corpus = [
        agent_says(from_agent::Body::Hello(hello.into())),
        agent_says(from_agent::Body::Report(report.into())),
        agent_says(from_agent::Body::Observation(observation)),
    ];
    Corpus::of(corpus).run(|bytes| match FromAgent::decode(bytes).ok().and_then(|message| message.body) {
        Some(from_agent::Body::Hello(hello)) => drop(Hello::try_from(hello)),
        Some(from_agent::Body::Report(report)) => drop(Report::try_from(report)),
        Some(from_agent::Body::Observation(observation)) => drop(convert::read_observation(&observation)),
        None => {}
    });
}

#[test]
fn what_the_core_says_is_read_or_refused() {
    let welcome = Welcome { cluster: ClusterId::from_bits(1), epoch: Epoch(1) };
    let gone = Job { want: Want::Gone, ..job(2, "1:1") };
    let corpus = [
        core_says(from_core::Body::Welcome(convert::welcome(welcome, 2))),
        core_says(from_core::Body::Job(job(1, "1:1").into())),
        core_says(from_core::Body::Job(gone.into())),
    ];
    Corpus::of(corpus).run(|bytes| match FromCore::decode(bytes).ok().and_then(|message| message.body) {
        Some(from_core::Body::Welcome(welcome)) => drop(convert::read_welcome(&welcome)),
        Some(from_core::Body::Job(job)) => drop(Job::try_from(job)),
        None => {}
    });
}

#[test]
fn desired_states_are_read_or_refused() {
    let key = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";
    let image = json!({"sha256": "ab".repeat(32), "file_size": 5, "virtual_size": 7});
    let corpus = [
        json!({"network": "net-1hcp2k7w8q3zd", "segment": 7, "mtu": 1420, "kind": "bridge"}),
        json!({"id": "img-1hcp2k7w8q3zd", "content": image}),
        json!({
            "id": "net-1hcp2k7w8q3zd", "slot": 1, "segment": 7, "subnet": "10.64.0.0/24", "router_address": "10.64.0.1",
            "mtu": 1420, "dhcp": {"range": {"start": "10.64.0.10", "end": "10.64.0.100"}}, "lease_seconds": 3600,
            "dns": {"domain": "a.internal", "servers": ["192.0.2.1"]}, "isolation": "internet",
            "leases": {"ins-1hcp2k7w8q3zd": {"name": "a", "mac": "02:00:00:00:00:01", "address": "10.64.0.101"}},
            "wireguard": {"port": 51820, "private_key": {"value": "x"}, "public_key": key},
            "peers": {"peer-1hcp2k7w8q3zd": {"name": "p", "public_key": key, "address": "10.65.0.1"}},
        }),
    ];
    let [link, content, network] = corpus.each_ref();
    serde_json::from_value::<desired::SegmentLink>(link.clone()).unwrap();
    serde_json::from_value::<desired::Image>(content.clone()).unwrap();
    serde_json::from_value::<desired::Network>(network.clone()).unwrap();
    Corpus::of(corpus.map(|state| state.to_string().into_bytes())).run(|bytes| {
        let _ = serde_json::from_slice::<desired::Network>(bytes);
        let _ = serde_json::from_slice::<desired::SegmentLink>(bytes);
        let _ = serde_json::from_slice::<desired::Image>(bytes);
        let _ = serde_json::from_slice::<desired::Instance>(bytes);
    });
}

#[test]
fn requests_for_certificates_are_read_or_refused() {
    let csr_pem = pki::CertificateRequest::make("agent").unwrap().csr_pem;
    let request = proto::EnrolRequest { invitation: "inv-1hcp2k7w8q3zd".to_owned(), secret: "x".to_owned(), csr_pem };
    Corpus::of([request.encode_to_vec()]).run(|bytes| {
        let Ok(request) = proto::EnrolRequest::decode(bytes) else { return };
        let _ = request.invitation.parse::<InvitationId>();
        let _ = pki::requested_key_digest(&request.csr_pem);
    });
}

#[test]
fn invitations_are_read_or_refused_without_repeating_them() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::init(&dir.path().join("ca"), OffsetDateTime::now_utc()).unwrap();
    let invitation = Invitation {
        core: "https://core.example.org:7741".parse().unwrap(),
        ca: authority.roots().unwrap(),
        id: InvitationId::from_bits(1),
        secret: SecretText::new("hush".to_owned()),
    };
    let whole = invitation.reveal().reveal().as_bytes().to_vec();
    let json = data_encoding::BASE64URL_NOPAD.decode(&whole[5..]).unwrap();
    Corpus::of([whole]).run(|bytes| drop(String::from_utf8_lossy(bytes).parse::<Invitation>()));
    // The same one layer further in, where chance would hardly come.
    Corpus::of([json]).run(|bytes| {
        let text = format!("rzi1.{}", data_encoding::BASE64URL_NOPAD.encode(bytes));
        if let Err(error) = text.parse::<Invitation>() {
            assert_eq!(error.to_string(), "\"(hidden)\" is not an invitation (a text that begins with rzi1.)");
        }
    });
}
