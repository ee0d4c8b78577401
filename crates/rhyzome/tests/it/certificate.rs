//! Certificates that are wrong, revoked, expired, of another CA, and exchanged while the core serves.

use std::path::Path;
use std::sync::Arc;

use config::Tls;
use jobs::credentials::{self, Credentials};
use jobs::enrol::enrol;
use jobs::refusal::Refusal;
use jobs::session::{self, SessionError};
use jobs::simulated::Simulated;
use jobs::{AgentConfig, Hello, Invitation, Reading, connection, renewal};
use pki::{AgentIdentity, Alpn, Authority, CertificateRequest, KeyedCertificate, Roots, ServerName};
use time::{Duration, OffsetDateTime};
use tokio::process::Command;
use types::{AgentId, ClusterId, Epoch};

use crate::installation::{Installation, until};

pub fn hello(protocol: u32) -> Hello {
    Hello {
        protocol,
        software: "test 1.0".to_owned(),
        features: Vec::new(),
        cluster: None,
        epoch: Epoch(0),
        reading: Ok(Reading::default()),
    }
}

pub async fn enrolled(installation: &Installation, name: &str) -> Credentials {
    let file = installation.invite("router", name).await;
    let invitation: Invitation = std::fs::read_to_string(file).unwrap().parse().unwrap();
    enrol(&invitation, &installation.file(name)).await.unwrap()
}

pub fn signed(authority: &Authority, identity: &AgentIdentity, at: OffsetDateTime, days: u32) -> KeyedCertificate {
    let request = CertificateRequest::make("test").unwrap();
    let certificate = authority.sign_agent(&request.csr_pem, identity, at, days).unwrap();
    KeyedCertificate::from_pem(&certificate, &request.key_pem).unwrap()
}

async fn refusal(known: &Credentials, own: Option<KeyedCertificate>) -> Option<Refusal> {
    let channel = connection::connect(&known.core, &known.ca, own).await.unwrap();
    match session::open(channel, hello(2)).await {
        Ok(_) => None,
        Err(SessionError::Refused { refusal, .. }) => Some(refusal),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_certificate_that_is_not_good_is_refused_by_name_and_logged_once() {
    let installation = Installation::start().await;
    let (known, other) = (enrolled(&installation, "one").await, enrolled(&installation, "two").await);
    let ours = Authority::load(&installation.file("pki")).unwrap();
    let now = OffsetDateTime::now_utc();
    let theirs = Authority::init(&installation.file("theirs"), now).unwrap();
    let minutes_ago = now - Duration::minutes(2);
    let own = known.identity;
    let target = AgentIdentity { target: other.identity.target, ..own };
    let agent = AgentIdentity { agent: AgentId::from_bits(77), ..own };
    let cluster = AgentIdentity { cluster: ClusterId::from_bits(77), ..own };
    let server = ours.issue_server(&[ServerName::try_from("x").unwrap()], now, 9).unwrap();
    let server = || KeyedCertificate::from_pem(&server.certificate_pem, &server.key_pem).unwrap();

    assert_eq!(refusal(&known, Some(known.certificate.again())).await, None);
    let wrong: [(Option<KeyedCertificate>, Refusal); 8] = [
        (None, Refusal::NoCertificate),
        (Some(signed(&theirs, &own, now, 9)), Refusal::Foreign),
        (Some(signed(&ours, &own, minutes_ago, 0)), Refusal::Expired),
        (Some(signed(&ours, &own, now + Duration::days(2), 9)), Refusal::NotYetValid),
        (Some(signed(&ours, &target, now, 9)), Refusal::OtherTarget),
        (Some(signed(&ours, &agent, now, 9)), Refusal::Unknown),
        (Some(signed(&ours, &cluster, now, 9)), Refusal::OtherInstallation),
        (Some(server()), Refusal::Wrong),
    ];
    for (own, expected) in wrong {
        for _ in 0..2 {
            let own = own.as_ref().map(KeyedCertificate::again);
            assert_eq!(refusal(&known, own).await, Some(expected));
        }
        let lines = installation.log().matches(&format!("refusal=\"{}\"", expected.word())).count();
        assert_eq!(lines, 1, "{expected:?}: {}", installation.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_good_for_its_renewal_alone() {
    let installation = Installation::start().await;
    let known = enrolled(&installation, "one").await;
    let ours = Authority::load(&installation.file("pki")).unwrap();
    let expired = signed(&ours, &known.identity, OffsetDateTime::now_utc() - Duration::minutes(2), 0);
    assert_eq!(refusal(&known, Some(expired.again())).await, Some(Refusal::Expired));

    let channel = connection::connect(&known.core, &known.ca, Some(expired)).await.unwrap();
    let state_dir = installation.file("one");
    let fresh = renewal::renew(channel, &known.identity, &state_dir).await.unwrap();
    assert_eq!(credentials::load(&state_dir).unwrap().unwrap().fingerprint(), fresh.facts().fingerprint);
    assert_eq!(refusal(&known, Some(fresh)).await, None);

    let theirs = Authority::init(&installation.file("theirs"), OffsetDateTime::now_utc()).unwrap();
    let foreign = signed(&theirs, &known.identity, OffsetDateTime::now_utc(), 9);
    let channel = connection::connect(&known.core, &known.ca, Some(foreign)).await.unwrap();
    let error = renewal::renew(channel, &known.identity, &state_dir).await.err().unwrap();
    assert_eq!(error.refusal(), Some(Refusal::Foreign));
}

/// The agents as `rhyzome admin agent list` shows them.
async fn listed(installation: &Installation) -> Vec<serde_json::Value> {
    let config = installation.file("rhyzome.json").display().to_string();
    let text = installation.command(&["admin", "agent", "list", "--config", &config, "-o", "json"]).await;
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_agent_is_cut_off_at_once_and_can_be_invited_again() {
    let mut installation = Installation::start().await;
    let router = Arc::new(Simulated::router());
    installation.agent("router", "edge", &router).await;
    let known = credentials::load(&installation.file("edge")).unwrap().unwrap();
    let first = known.identity.agent.to_string();
    let config = installation.file("rhyzome.json").display().to_string();
    installation.command(&["admin", "agent", "revoke", "--config", &config, "--yes", &first]).await;
    until("the session to end", async || installation.log().contains("the agent was revoked").then_some(())).await;
    assert_eq!(listed(&installation).await[0]["state"], "revoked");
    assert_eq!(refusal(&known, Some(known.certificate.again())).await, Some(Refusal::Revoked));
    let channel = connection::connect(&known.core, &known.ca, Some(known.certificate.again())).await.unwrap();
    let error = renewal::renew(channel, &known.identity, &installation.file("elsewhere")).await.err().unwrap();
    assert_eq!(error.refusal(), Some(Refusal::Revoked));

    installation.invite("router", "edge").await;
    let client = installation.client("tester");
    until("the agent to come back as another", async || {
        let agents = client.agents().await.ok()?.items;
        let back = agents.iter().find(|agent| agent.name == "edge" && agent.connected)?;
        (back.id?.to_string() != first).then_some(())
    })
    .await;
    installation.command(&["admin", "agent", "forget", "--config", &config, "--yes", &first]).await;
    assert_eq!(listed(&installation).await.len(), 1);
    assert_eq!(refusal(&known, Some(known.certificate.again())).await, Some(Refusal::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_not_spoken_are_refused_with_both_versions() {
    let installation = Installation::start().await;
    let known = enrolled(&installation, "one").await;
    for protocol in [0, 3] {
        let channel = connection::connect(&known.core, &known.ca, Some(known.certificate.again())).await.unwrap();
        let error = session::open(channel, hello(protocol)).await.err().unwrap().to_string();
        assert!(error.contains(&format!("version {protocol} ")) && error.contains("versions 1 to 2"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_session_ends_one_whose_other_end_is_silent() {
    let installation = Installation::start().await;
    let known = enrolled(&installation, "one").await;
    let channel = connection::connect(&known.core, &known.ca, Some(known.certificate.again())).await.unwrap();
    let mut older = session::open(channel, hello(2)).await.unwrap();
    let channel = connection::connect(&known.core, &known.ca, Some(known.certificate.again())).await.unwrap();
    let _newer = session::open(channel, hello(2)).await.unwrap();
    let ended = older.incoming.message().await.unwrap_err();
    assert!(ended.message().contains("a newer session"), "{ended}");
}

/// The fingerprint of what the job server shows.
async fn server_shows(known: &Credentials) -> pki::Fingerprint {
    let tls = pki::client_config(&known.ca, None, Alpn::Http2).unwrap();
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", known.core.port().get())).await.unwrap();
    let stream = pki::TlsConnector::from(Arc::new(tls)).connect(known.core.host().clone(), stream).await.unwrap();
    pki::Fingerprint::of(&stream.get_ref().1.peer_certificates().unwrap()[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_certificate_is_taken_without_a_restart_and_a_broken_one_is_not() {
    let mut installation = Installation::start().await;
    installation.agent("router", "edge", &Arc::new(Simulated::router())).await;
    let known = credentials::load(&installation.file("edge")).unwrap().unwrap();
    let ours = Authority::load(&installation.file("pki")).unwrap();
    let issued =
        ours.issue_server(&[ServerName::try_from("127.0.0.1").unwrap()], OffsetDateTime::now_utc(), 9).unwrap();
    let fresh = pki::show(&issued.certificate_pem).unwrap().fingerprint;
    assert_ne!(server_shows(&known).await, fresh);
    issued.write(&installation.file("cert.pem"), &installation.file("key.pem")).unwrap();
    let pid = installation.core_pid().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().await.unwrap().success());
    until("the fresh certificate", async || (server_shows(&known).await == fresh).then_some(())).await;
    installation.client("tester").agents().await.unwrap();

    config::file::write_public(&installation.file("cert.pem"), b"-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().await.unwrap().success());
    until("the refusal", async || installation.log().contains("the one before goes on").then_some(())).await;
    assert_eq!(server_shows(&known).await, fresh);
    let agents = installation.client("tester").agents().await.unwrap().items;
    assert!(agents[0].connected, "a session outlives a change of certificates");
}

/// Runs openssl in `dir`.
pub async fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().await;
    let done = done.expect("this test needs the package openssl");
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_openssl_made_work_on_both_sides() {
    let mut installation = Installation::prepare().await;
    let file = |name: &str| installation.file(name).display().to_string();
    let config = file("rhyzome.json");
    let register = ["admin", "agent", "register", "--config", &config, "--kind", "router", "--name", "edge"];
    let uri = installation.command(&register).await.trim().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc";
    openssl(dir.path(), &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 9 -subj /CN=elsewhere")).await;
    for (name, purpose, subject) in
        [("server", "serverAuth", "IP:127.0.0.1"), ("agent", "clientAuth", &format!("URI:{uri}"))]
    {
        let extensions = format!("subjectAltName={subject}\nextendedKeyUsage={purpose}\nbasicConstraints=CA:FALSE\n");
        std::fs::write(dir.path().join("extensions"), extensions).unwrap();
        openssl(dir.path(), &format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}")).await;
        let sign = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -extfile extensions";
        openssl(dir.path(), &format!("x509 -req -in {name}.csr -out {name}.pem {sign}")).await;
        let key = std::fs::read(dir.path().join(format!("{name}.key"))).unwrap();
        config::file::write_private(&dir.path().join(format!("{name}.key")), &key).unwrap();
    }
    let tls = |name: &str| Tls {
        ca: Some(dir.path().join("ca.pem")),
        cert: dir.path().join(format!("{name}.pem")),
        key: dir.path().join(format!("{name}.key")),
    };
    let mut configured: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    let url: jobs::CoreUrl = configured["jobs"]["url"].as_str().unwrap().parse().unwrap();
    let server = tls("server");
    configured["tls"] = serde_json::json!({"ca": server.ca, "cert": server.cert, "key": server.key});
    std::fs::write(&config, configured.to_string()).unwrap();
    installation.token("local", &["*:*"], "tester").await;
    installation.start_core().await;

    let given = AgentConfig {
        core: Some(url.into()),
        invitation_file: None,
        tls: Some(tls("agent")),
        state_dir: installation.file("edge"),
    };
    installation.run_agent("edge", given, &Arc::new(Simulated::router())).await;
    // Agents of our own CA are invited to believe the other one for the server.
    installation.agent("hypervisor", "host", &Arc::new(Simulated::hypervisor())).await;
    let known = credentials::load(&installation.file("host")).unwrap().unwrap();
    let elsewhere = Roots::from_pem(&std::fs::read_to_string(dir.path().join("ca.pem")).unwrap()).unwrap();
    assert_eq!(known.ca.certificates(), elsewhere.certificates());
}
