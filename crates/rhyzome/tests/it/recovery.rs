//! Backups and their way back, orphans, and an administrator's hand on operations.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use api::{Client, Network, OperationState, State};
use jobs::Object;
use jobs::simulated::Simulated;
use serde_json::json;
use types::{NetworkId, OperationId};

use crate::installation::{Installation, ended, named, succeeded, until};

async fn ask(client: &Client, name: &str) -> (NetworkId, OperationId) {
    let body = serde_json::from_value(json!({"name": name})).unwrap();
    let accepted = client.create::<Network>(&body).await.unwrap();
    (accepted.resource.id, accepted.operation)
}

async fn network(client: &Client, name: &str) -> NetworkId {
    let (id, operation) = ask(client, name).await;
    succeeded(client, operation).await;
    id
}

/// A target that held more than the backup knew, and something whose end the backup had under way, lost both at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_deletes_nothing_by_itself() {
    let mut installation = Installation::start().await;
    let router = Arc::new(Simulated::router());
    installation.agent("router", "router", &router).await;
    let client = installation.client("tester");
    let kept = network(&client, "kept").await;
    let ending = network(&client, "ending").await;
    installation.stop_agents().await;
    let deleted = client.delete::<Network>(&named::<Network>("ending")).await.unwrap();
    until("the tombstone", async || {
        let operation = client.operation(deleted.operation).await.unwrap();
        operation.reason.filter(|reason| reason.contains("not connected"))
    })
    .await;

    let backup = installation.file("backup").display().to_string();
    let (good, printed) = installation.admin(&["backup", &backup]).await;
    assert!(good, "{printed}");
    let mode = std::fs::metadata(&backup).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(!installation.admin(&["backup", &backup]).await.0, "a backup is not written over");
    let key = std::fs::read(installation.file("data/secret.key")).unwrap();
    let bytes = std::fs::read(&backup).unwrap();
    assert!(!bytes.windows(key.len()).any(|window| window == key), "the key is not in the backup");

    // What the router holds and the backup does not know.
    installation.agent("router", "router", &router).await;
    until("the end", async || (!router.state().objects.contains_key(&Object::Network(ending))).then_some(())).await;
    let later = network(&client, "later").await;
    let (refused, printed) = installation.admin(&["restore", &backup, "--yes"]).await;
    assert!(!refused && printed.contains("another rhyzome serve"), "{printed}");
    installation.stop_agents().await;
    installation.kill_core().await;
    // As if the end of this one had not come through before the disaster.
    let held = router.state().objects[&Object::Network(kept)].clone();
    router.state().objects.insert(Object::Network(ending), held);
    let printed = until("the lease of the killed core to end", async || {
        let (good, printed) = installation.admin(&["restore", &backup, "--yes"]).await;
        assert!(good || printed.contains("another rhyzome serve"), "{printed}");
        good.then_some(printed)
    })
    .await;
    assert!(printed.contains("epoch 2"), "{printed}");

    installation.start_core().await;
    let client = installation.client("tester");
    let receipts = router.state().receipts.len();
    installation.agent("router", "router", &router).await;
    let refused = client.delete::<Network>(&named::<Network>("kept")).await.unwrap_err().to_string();
    assert!(refused.contains("paused") && refused.contains("resume"), "{refused}");
    assert_eq!(client.list::<Network>().await.unwrap().len(), 2, "reading goes on");
    let (good, printed) = installation.admin(&["resume"]).await;
    assert!(!good && printed.contains("--yes"), "{printed}");
    for part in [
        format!("network/{ending}: WILL BE TAKEN AWAY"),
        format!("network/{later}: not in the backup; stays as it is"),
        format!("network.delete of {ending} goes on"),
    ] {
        assert!(printed.contains(&part), "{part} in {printed}");
    }
    assert_eq!(router.state().receipts.len(), receipts, "nothing is sent while paused");

    let (good, printed) = installation.admin(&["resume", "--yes"]).await;
    assert!(good, "{printed}");
    succeeded(&client, deleted.operation).await;
    router.until(|state| !state.objects.contains_key(&Object::Network(ending))).await;
    router.until(|state| state.objects[&Object::Network(kept)].0.epoch.0 == 2).await;
    assert!(
        router.state().objects.contains_key(&Object::Network(later)),
        "what the backup does not know is left alone"
    );

    let object = format!("network/{later}");
    let (good, printed) = installation.admin(&["orphans", "list"]).await;
    assert!(good && printed.contains(&object) && printed.lines().count() == 1, "{printed}");
    let (good, printed) = installation.admin(&["orphans", "adopt", "router", &object]).await;
    let made_at = api::Timestamp::from_unix_ms(later.made_at().try_into().unwrap());
    assert!(!good && printed.contains(&format!("It was made at {made_at}")), "{printed}");
    let (good, printed) = installation.admin(&["doctor"]).await;
    assert!(!good && printed.contains(&object), "{printed}");
    let (good, printed) = installation.admin(&["orphans", "delete", "router", &object, "--yes"]).await;
    assert!(good, "{printed}");
    router.until(|state| !state.objects.contains_key(&Object::Network(later))).await;
    until("the doctor to find nothing", async || installation.admin(&["doctor"]).await.0.then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_pushes_and_cancels() {
    let mut installation = Installation::start().await;
    let router = Arc::new(Simulated::router());
    installation.agent("router", "router", &router).await;
    let client = installation.client("tester");
    router.close();
    let (id, operation) = ask(&client, "home").await;
    let text = operation.to_string();
    let awaited = format!("network/{id}");
    until("the operation to say what it waits for", async || {
        let (_, printed) = installation.admin(&["operation", "show", &text]).await;
        printed.contains(&awaited).then_some(())
    })
    .await;
    let (_, printed) = installation.admin(&["operation", "list"]).await;
    assert!(printed.contains(&text) && printed.contains("network.create"), "{printed}");
    let (good, printed) = installation.admin(&["operation", "retry", &text]).await;
    assert!(good && printed.contains("1 jobs"), "{printed}");
    let (good, printed) = installation.admin(&["operation", "cancel", &text]).await;
    assert!(good, "{printed}");
    let failed = ended(&client, operation).await;
    assert_eq!(failed.state, OperationState::Failed);
    assert_eq!(failed.reason.as_deref(), Some("an administrator gave it up"));
    let home: Network = client.get(&named::<Network>("home")).await.unwrap();
    assert_eq!(home.state, State::Failed);
    router.open();
    router.until(|state| state.objects.is_empty() && !state.receipts.is_empty()).await;

    let deleted = client.delete::<Network>(&named::<Network>("home")).await.unwrap();
    succeeded(&client, deleted.operation).await;
    let (good, printed) = installation.admin(&["operation", "cancel", &text]).await;
    assert!(!good && printed.contains("has failed already"), "{printed}");
    let (good, printed) = installation.admin(&["operation", "list"]).await;
    assert!(good && !printed.contains("op-"), "{printed}");
}
