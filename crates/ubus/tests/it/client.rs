//! The client that keeps a session.

use std::sync::Arc;

use serde_json::json;
use types::SecretText;
use ubus::{Client, Credentials, Ubus};
use uci::{Config, Package, PackageName};

use crate::rpcd::{PASSWORD, Rpcd};

fn rpcd() -> Arc<Rpcd> {
    let toys = include_str!("../transcripts/toys");
    let toys = Package::parse(PackageName::new("toys").unwrap(), toys).unwrap();
    Arc::new(Rpcd::new([toys].into_iter().collect::<Config>()))
}

fn client(rpcd: &Arc<Rpcd>, password: &str) -> Client {
    let password = SecretText::new(password.to_owned());
    Client::new(Arc::clone(rpcd) as Arc<dyn Ubus>, Credentials { username: "root".to_owned(), password })
}

#[tokio::test]
async fn one_login_does_for_many_calls() {
    let rpcd = rpcd();
    let client = client(&rpcd, PASSWORD);
    let toys = [PackageName::new("toys").unwrap()];
    for _ in 0..3 {
        let config = client.read(&toys).await.unwrap();
        assert_eq!(config, rpcd.state().committed);
    }
    assert_eq!(rpcd.state().log, ["login", "get", "get", "get"]);
}

#[tokio::test]
async fn an_expired_session_is_made_anew_once() {
    let rpcd = rpcd();
    let client = client(&rpcd, PASSWORD);
    client.call("uci", "changes", json!({})).await.unwrap();
    rpcd.state().sessions.clear();
    client.call("uci", "changes", json!({})).await.unwrap();
    assert_eq!(rpcd.state().log, ["login", "changes", "changes", "login", "changes"]);
    // A call that is denied in a session made for it is denied.
    for _ in 0..2 {
        rpcd.before("changes", |state| state.sessions.clear());
    }
    let error = client.call("uci", "changes", json!({})).await.unwrap_err();
    assert!(error.is_access_denied(), "{error}");
    assert_eq!(rpcd.state().calls("login"), 3);
}

#[tokio::test]
async fn a_wrong_password_names_the_user_and_not_the_password() {
    let rpcd = rpcd();
    let error = client(&rpcd, "wrong-secret").call("uci", "changes", json!({})).await.unwrap_err();
    assert_eq!(error.to_string(), "login of \"root\" refused: expected a user of rpcd and its password");
    assert!(!format!("{error:?}").contains("wrong-secret"));
}

#[tokio::test]
async fn sessions_end() {
    let rpcd = rpcd();
    let client = client(&rpcd, PASSWORD);
    let session = client.login(Some(std::time::Duration::from_secs(7))).await.unwrap();
    assert_eq!(session.timeout().as_secs(), 7);
    assert_eq!(rpcd.state().sessions.len(), 1);
    session.destroy().await.unwrap();
    assert!(rpcd.state().sessions.is_empty());
    let session = client.login(None).await.unwrap();
    rpcd.state().sessions.clear();
    session.destroy().await.unwrap();
}
