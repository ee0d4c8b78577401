use store::Caller;
use testbed::Engine;
use types::{NetworkId, OperationId, TargetId};

use crate::ground::{person, place, replica};

/// The schema of release 0.1, and what marks it.
fn released() -> &'static str {
    match Engine::of(env!("CARGO_CRATE_NAME")) {
        Engine::Sqlite => concat!(include_str!("../../migrations/sqlite/0001_first.sql"), "PRAGMA user_version = 1;"),
        Engine::Postgres => concat!(
            include_str!("../../migrations/postgres/0001_first.sql"),
            "CREATE TABLE schema_version (version BIGINT NOT NULL); INSERT INTO schema_version VALUES (1);"
        ),
    }
}

#[tokio::test]
async fn what_the_first_release_wrote_is_kept() {
    let (network, operation, target) = (NetworkId::from_bits(1), OperationId::from_bits(2), TargetId::from_bits(3));
    let rows = format!(
        "INSERT INTO target (id, tenant, kind, name, created_at) VALUES ('{target}', 'garden', 'router', 'r', 1);
         INSERT INTO agent (id, tenant, target, session, connected, created_at)
            VALUES ('agt-0000000000004', 'garden', '{target}', 7, 1, 1);
         INSERT INTO resource (id, tenant, kind, name, generation, spec_version, spec, state, created_at, updated_at)
            VALUES ('{network}', 'garden', 'network', 'home', 3, 1, '{{\"mtu\": 1400}}', 'updating', 1, 2);
         INSERT INTO status (resource, tenant, body, updated_at) VALUES ('{network}', 'garden', '{{}}', 2);
         INSERT INTO operation (id, tenant, resource, action, state, attempt, owner, lease_until, deadline_at,
            created_at, updated_at) VALUES ('{operation}', 'garden', '{network}', 'network.update', 'running', 4,
            'executor-1-00000001', 9000000000000, 9000000000000, 1, 2);
         INSERT INTO job (target, object, tenant, resource, epoch, revision, desired, updated_at)
            VALUES ('{target}', 'network/{network}', 'garden', '{network}', 1, 5, '{{\"mtu\": 1400}}', 2);
         INSERT INTO event (tenant, at, kind, resource, name, change, state)
            VALUES ('garden', 2, 'network', '{network}', 'home', 'updated', 'updating');"
    );
    let place = place().await;
    place.run(&format!("{}{rows}", released())).await;

    let store = place.open(1).await.unwrap();
    let mut session = store.write().await.unwrap();
    let row = session.resource(&person("garden"), network.into()).await.unwrap();
    assert_eq!((row.name.as_str(), row.generation.0, &row.spec["mtu"]), ("home", 3, &serde_json::json!(1400)));
    let core = Caller::core();
    assert_eq!(session.jobs_of_target(&core, target).await.unwrap()[0].version.revision.0, 5);
    assert_eq!(session.events(&core, 0, 10).await.unwrap().len(), 1);
    assert!(!session.is_connected(target).await.unwrap(), "nobody is, before they come again");
    let replica = replica(&mut session).await;
    let claim = session.claim_operation(&core, replica).await.unwrap().unwrap();
    assert_eq!((claim.operation, claim.attempt), (operation, 5), "nobody works it any more");
}
