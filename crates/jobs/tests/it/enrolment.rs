//! Becoming an agent.

use std::sync::Arc;

use config::Tls;
use jobs::credentials::load;
use jobs::enrol::{EnrolError, enrol};
use jobs::simulated::Simulated;
use jobs::{AgentConfig, AgentError};
use types::SecretText;

use crate::core::Core;
use crate::{Agent, state};

#[tokio::test]
async fn an_invitation_serves_one_agent() {
    let (core, dir) = (Core::start(), tempfile::tempdir().unwrap());
    let invitation = core.invite();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    assert!(load(&first).unwrap().is_none());
    let enrolled = enrol(&invitation, &first).await.unwrap();
    let again = load(&first).unwrap().unwrap();
    assert_eq!((again.identity, &again.core), (enrolled.identity, &invitation.core));
    assert_eq!(enrolled.identity.cluster, core.state().welcome.cluster);

    let refused = enrol(&invitation, &second).await.err().unwrap();
    assert!(!refused.may_pass());
    assert!(refused.to_string().ends_with("it was used already"), "{refused}");
    assert!(load(&second).unwrap().is_none());
}

#[tokio::test]
async fn an_agent_that_was_killed_before_it_had_its_certificate_enrols_again() {
    let (core, dir) = (Core::start(), tempfile::tempdir().unwrap());
    let invitation = core.invite();
    let enrolled = enrol(&invitation, &state(dir.path())).await.unwrap();
    std::fs::remove_file(state(dir.path()).join("tls/cert.pem")).unwrap();
    assert_eq!(enrol(&invitation, &state(dir.path())).await.unwrap().identity, enrolled.identity);
}

#[tokio::test]
async fn a_wrong_secret_and_a_wrong_ca_are_refused() {
    let (core, other, dir) = (Core::start(), Core::start(), tempfile::tempdir().unwrap());
    let mut invitation = core.invite();
    invitation.secret = SecretText::new("guess".to_owned());
    let refused = enrol(&invitation, &state(dir.path())).await.err().unwrap();
    assert!(matches!(&refused, EnrolError::Refused { reason, .. } if reason == "the secret is wrong"), "{refused}");

    let mut invitation = core.invite();
    invitation.ca = other.invite().ca;
    let refused = enrol(&invitation, &state(dir.path())).await.err().unwrap();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    assert!(refused.may_pass(), "the wrong server may be at that address for a while");
}

#[tokio::test]
async fn an_agent_with_nothing_to_go_by_says_so() {
    let (dir, target) = (tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let config = AgentConfig { core: None, invitation_file: None, tls: None, state_dir: state(dir.path()) };
    let failure = Agent::with(config.clone(), &target).failure().await;
    assert!(matches!(failure, AgentError::NotInvited(_)), "{failure}");

    let file = dir.path().join("invitation");
    config::file::write_private(&file, b"rzi1.nonsense").unwrap();
    let config = AgentConfig { invitation_file: Some(file.clone()), ..config };
    let failure = Agent::with(config.clone(), &target).failure().await.to_string();
    assert!(failure.starts_with(&format!("agent.invitation_file {}: ", file.display())), "{failure}");
    assert!(!failure.contains("nonsense"));

    config::file::write_public(&file, b"rzi1.nonsense").unwrap();
    let failure = Agent::with(config, &target).failure().await.to_string();
    assert!(failure.contains("mode 0644"), "{failure}");
}

#[tokio::test]
async fn a_used_invitation_ends_the_agent_with_the_core_s_reason() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    Agent::start(&core, dir.path(), &target).stop().await;
    let invitation = core.invite();
    enrol(&invitation, &dir.path().join("other")).await.unwrap();
    let file = dir.path().join("used");
    config::file::write_private(&file, invitation.reveal().reveal().as_bytes()).unwrap();
    let config =
        AgentConfig { core: None, invitation_file: Some(file), tls: None, state_dir: dir.path().join("third") };
    let failure = Agent::with(config, &target).failure().await.to_string();
    assert!(failure.ends_with("it was used already"), "{failure}");
}

#[tokio::test]
async fn what_was_stored_is_named_when_it_is_broken() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    enrol(&core.invite(), &state(dir.path())).await.unwrap();
    let tls = Tls::in_directory(&state(dir.path()).join("tls"));
    config::file::write_private(&tls.key, b"x").unwrap();
    let config = AgentConfig { core: None, invitation_file: None, tls: None, state_dir: state(dir.path()) };
    let failure = Agent::with(config, &target).failure().await.to_string();
    assert!(failure.starts_with(&tls.key.display().to_string()), "{failure}");
}
