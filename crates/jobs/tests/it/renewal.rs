//! Certificates that end, are renewed, are refused, and are given from elsewhere.

use std::path::Path;
use std::sync::Arc;

use config::Tls;
use jobs::credentials::load;
use jobs::enrol::enrol;
use jobs::simulated::Simulated;
use jobs::{AgentConfig, Outcome, Refusal};
use pki::{Authority, CertificateRequest};
use time::OffsetDateTime;

use crate::core::Core;
use crate::{Agent, job, network, state, version};

fn given(core: &Core, tls: Tls, dir: &Path) -> AgentConfig {
    let url: jobs::CoreUrl = format!("https://{}", core.address).parse().unwrap();
    AgentConfig { core: Some(jobs::CoreUrls::from(url)), invitation_file: None, tls: Some(tls), state_dir: state(dir) }
}

fn fingerprint(dir: &Path) -> pki::Fingerprint {
    load(&state(dir)).unwrap().unwrap().fingerprint()
}

#[tokio::test]
async fn a_certificate_is_renewed_two_thirds_through_its_life_and_the_session_opened_once_more() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let agent = Agent::start(&core, dir.path(), &target);
    core.until_connected().await;
    let before = fingerprint(dir.path());
    core.pass(55);
    core.put(job(1, "1:1"));
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
    assert_eq!(core.state().renewals.len(), 0, "it is too early");

    core.pass(10);
    core.until("another session", |state| state.sessions.len() == 2).await;
    assert_eq!(core.state().renewals.len(), 1);
    let sessions = core.state().sessions.clone();
    assert_eq!((sessions[1] - sessions[0]).whole_days(), 65);
    assert_ne!(fingerprint(dir.path()), before);
    core.put(job(2, "1:1"));
    core.until_said(network(2), version("1:1"), Outcome::Applied).await;
    assert_eq!(core.state().sessions.len(), 2);
    agent.stop().await;
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_certificate_that_still_works() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    enrol(&core.invite(), &state(dir.path())).await.unwrap();
    let before = fingerprint(dir.path());
    core.pass(70);
    core.state().renewal_failures = 1;
    let agent = Agent::start(&core, dir.path(), &target);
    core.until_connected().await;
    assert_eq!(fingerprint(dir.path()), before);
    agent.stop().await;

    let agent = Agent::start(&core, dir.path(), &target);
    core.until("the renewal", |state| state.renewals.len() == 1).await;
    core.until_connected().await;
    agent.stop().await;
    assert_ne!(fingerprint(dir.path()), before);
}

#[tokio::test]
async fn an_expired_certificate_is_renewed_before_anything_else() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    enrol(&core.invite(), &state(dir.path())).await.unwrap();
    core.pass(170);
    let agent = Agent::start(&core, dir.path(), &target);
    core.until_connected().await;
    assert_eq!(core.state().sessions.len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_whose_clock_stood_still_believes_the_core_that_its_certificate_expired() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    enrol(&core.invite(), &state(dir.path())).await.unwrap();
    core.pass(100);
    let config = AgentConfig { core: None, invitation_file: None, tls: None, state_dir: state(dir.path()) };
    let agent = Agent::with(config, &target);
    core.until_connected().await;
    assert_eq!(core.state().renewals.len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_revoked_agent_asks_again_until_it_is_invited_again() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let first = enrol(&core.invite(), &state(dir.path())).await.unwrap().identity;
    core.state().refusal = Some(Refusal::Revoked);
    let file = dir.path().join("invitation");
    let agent = Agent::start(&core, dir.path(), &target);
    crate::until("it is enrolled again", || {
        load(&state(dir.path())).ok().flatten().is_some_and(|known| known.identity != first)
    })
    .await;
    core.state().refusal = None;
    core.until_connected().await;
    agent.stop().await;
    assert!(file.exists());
    let second = load(&state(dir.path())).unwrap().unwrap().identity;

    core.state().refusal = Some(Refusal::Revoked);
    let agent = Agent::start(&core, dir.path(), &target);
    crate::until("a try", || target.state().readings >= 4).await;
    agent.stop().await;
    let kept = load(&state(dir.path())).unwrap().unwrap().identity;
    assert_eq!(kept, second, "an invitation that was used is not tried again");
}

#[tokio::test]
async fn given_files_are_shown_and_taken_up_when_they_change() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let made = enrol(&core.invite(), &dir.path().join("elsewhere")).await.unwrap().identity;
    let tls = Tls::in_directory(&dir.path().join("elsewhere/tls"));
    let agent = Agent::by(core.clock(), given(&core, tls.clone(), dir.path()), &target);
    core.until_connected().await;
    core.pass(20);
    let request = CertificateRequest::make("another").unwrap();
    let certificate = core.sign(&request.csr_pem, &made);
    config::file::write_private(&tls.key, request.key_pem.reveal().as_bytes()).unwrap();
    config::file::write_public(&tls.cert, certificate.as_bytes()).unwrap();
    core.until("another session", |state| state.sessions.len() == 2).await;
    core.pass(65);
    core.put(job(1, "1:1"));
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
    assert!(core.state().renewals.is_empty(), "whoever gave the files renews them");
    agent.stop().await;
}

#[tokio::test]
async fn given_files_that_are_incomplete_or_not_an_agent_s_are_named() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let theirs = Authority::init(&dir.path().join("theirs"), OffsetDateTime::now_utc()).unwrap();
    let issued = theirs.issue_server(&[pki::ServerName::try_from("x").unwrap()], OffsetDateTime::now_utc(), 9).unwrap();
    let tls = Tls::in_directory(dir.path());
    issued.write(&tls.cert, &tls.key).unwrap();
    config::file::write_public(tls.ca.as_ref().unwrap(), theirs.certificate_pem().as_bytes()).unwrap();
    let failure = Agent::with(given(&core, tls.clone(), dir.path()), &target).failure().await.to_string();
    assert!(failure.contains("cert.pem: the certificate names no agent"), "{failure}");
    let failure = Agent::with(given(&core, Tls { ca: None, ..tls }, dir.path()), &target).failure().await.to_string();
    assert!(failure.starts_with("agent.tls.ca is missing"), "{failure}");
}

#[tokio::test]
async fn a_core_of_another_version_is_refused_by_the_agent() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    core.state().protocol = 3;
    core.put(job(1, "1:1"));
    let agent = Agent::start(&core, dir.path(), &target);
    core.until("two tries", |state| state.sessions.len() >= 2).await;
    agent.stop().await;
    assert!(target.state().receipts.is_empty());
}
