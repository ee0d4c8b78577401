//! Certificates as they are made, written and shown in handshakes.
#![allow(clippy::unwrap_used, missing_docs)]

mod handshake;
mod installation;

use std::path::Path;

use pki::{AgentIdentity, Authority, CertificateRequest, KeyedCertificate, ServerName};
use time::{Duration, OffsetDateTime};
use types::{AgentId, ClusterId, TargetId};

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn days(count: i64) -> Duration {
    Duration::days(count)
}

fn names(list: &[&str]) -> Vec<ServerName<'static>> {
    list.iter().map(|name| ServerName::try_from((*name).to_owned()).unwrap()).collect()
}

fn identity() -> AgentIdentity {
    AgentIdentity { cluster: ClusterId::from_bits(1), agent: AgentId::from_bits(2), target: TargetId::from_bits(3) }
}

fn authority() -> Authority {
    let dir = tempfile::tempdir().unwrap();
    Authority::init(&dir.path().join("ca"), now()).unwrap()
}

fn server(authority: &Authority, name: &str, at: OffsetDateTime) -> KeyedCertificate {
    let issued = authority.issue_server(&names(&[name]), at, pki::SERVER_DAYS).unwrap();
    KeyedCertificate::from_pem(&issued.certificate_pem, &issued.key_pem).unwrap()
}

fn agent(authority: &Authority, at: OffsetDateTime) -> KeyedCertificate {
    let request = CertificateRequest::make("anything").unwrap();
    let certificate = authority.sign_agent(&request.csr_pem, &identity(), at, pki::AGENT_DAYS).unwrap();
    KeyedCertificate::from_pem(&certificate, &request.key_pem).unwrap()
}

fn content(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
