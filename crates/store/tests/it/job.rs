use std::collections::BTreeMap;

use serde_json::json;
use store::{Caller, JobReport};
use types::{Epoch, Revision, Version};

use crate::ground::{Ground, network, router};

fn version(revision: u64) -> Version {
    Version { epoch: Epoch(1), revision: Revision(revision) }
}

fn report(revision: u64, outcome: &'static str) -> JobReport {
    JobReport {
        object: "network/x".to_owned(),
        version: version(revision),
        outcome,
        reason: None,
        entries: BTreeMap::new(),
    }
}

#[tokio::test]
async fn revisions_rise_only_with_the_state() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let core = Caller::core();
    let (router, home) = (router(&mut session).await, network(&mut session, 1).await);
    let one = json!({"mtu": 1500});
    let mut render = async |state: Option<&serde_json::Value>| {
        session.render_job(&core, router, "network/x", home.into(), state).await.unwrap()
    };
    assert_eq!(render(Some(&one)).await, version(1));
    assert_eq!(render(Some(&one)).await, version(1), "nothing changed");
    assert_eq!(render(Some(&json!({"mtu": 1400}))).await, version(2));
    assert_eq!(render(None).await, version(3), "a tombstone");
    assert_eq!(render(None).await, version(3));
    assert_eq!(render(Some(&one)).await, version(4), "made again");
}

#[tokio::test]
async fn old_and_invented_reports_are_not_kept() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let core = Caller::core();
    let (router, home) = (router(&mut session).await, network(&mut session, 1).await);
    for mtu in [1500, 1400] {
        session.render_job(&core, router, "network/x", home.into(), Some(&json!({"mtu": mtu}))).await.unwrap();
    }
    assert_eq!(session.unanswered_jobs(&core, router).await.unwrap().len(), 1);
    assert!(!session.keep_report(&core, router, &report(3, "applied")).await.unwrap(), "never rendered");
    assert!(session.keep_report(&core, router, &report(1, "refused")).await.unwrap());
    assert_eq!(session.unanswered_jobs(&core, router).await.unwrap().len(), 1, "an older rendering was answered");
    assert!(session.keep_report(&core, router, &report(2, "applied")).await.unwrap());
    assert!(!session.keep_report(&core, router, &report(1, "refused")).await.unwrap(), "late");
    let job = session.job(&core, router, "network/x").await.unwrap().unwrap();
    assert!(job.is_confirmed());
    assert!(session.unanswered_jobs(&core, router).await.unwrap().is_empty());
}
