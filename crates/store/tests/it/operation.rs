use serde_json::json;
use store::{Caller, Constraint, NewOperation, StoreError};
use types::{NetworkId, OperationId};

use crate::ground::{Ground, network, person, replica};

fn new(number: u64, resource: NetworkId) -> NewOperation<'static> {
    NewOperation {
        id: OperationId::from_bits(number),
        resource: resource.into(),
        action: "network.create",
        deadline_ms: 1000,
        previous_spec: None,
        steps: &["router"],
    }
}

#[tokio::test]
async fn one_operation_at_a_time_and_a_delete_comes_first() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let me = person("garden");
    let home = network(&mut session, 1).await;
    session.add_operation(&me, &new(1, home)).await.unwrap();
    session.commit().await.unwrap();
    let second = store.write().await.unwrap().add_operation(&me, &new(2, home)).await.unwrap_err();
    assert!(matches!(second, StoreError::Refused { constraint: Constraint::Operation }), "{second:?}");

    let mut session = store.write().await.unwrap();
    let core = Caller::core();
    let (one, two) = (replica(&mut session).await, replica(&mut session).await);
    let claim = session.claim_operation(&core, one).await.unwrap().unwrap();
    assert!(session.claim_operation(&core, two).await.unwrap().is_none(), "it is claimed");
    session.guard(claim).await.unwrap();
    session.set_step(claim, 0, "running", None, Some(&json!([1]))).await.unwrap();
    session.preempt_operation(&me, home.into(), "another came").await.unwrap();
    assert!(matches!(session.guard(claim).await, Err(StoreError::Fenced)));
    session.add_operation(&me, &new(3, home)).await.unwrap();
}

#[tokio::test]
async fn the_work_of_a_dead_replica_is_taken_over() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let core = Caller::core();
    let home = network(&mut session, 1).await;
    session.add_operation(&person("garden"), &new(1, home)).await.unwrap();
    let (dead, alive) = (session.add_replica(&core, -1).await.unwrap(), replica(&mut session).await);
    let lost = session.claim_operation(&core, dead).await.unwrap().unwrap();
    assert!(session.claim_operation(&core, alive).await.unwrap().is_none(), "not before it is known to be dead");
    assert_eq!(session.dead_replicas(&core).await.unwrap(), [dead]);
    session.bury_replica(&core, dead).await.unwrap();
    let taken = session.claim_operation(&core, alive).await.unwrap().unwrap();
    assert_eq!(taken.attempt, lost.attempt + 1);
    assert!(matches!(session.guard(lost).await, Err(StoreError::Fenced)));
    session.guard(taken).await.unwrap();
    session.give_up_operations(&core, alive).await.unwrap();
    assert!(session.claim_operation(&core, alive).await.unwrap().is_some());
}

#[tokio::test]
async fn a_replica_that_was_taken_for_dead_lives_on() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let core = Caller::core();
    let paused = session.add_replica(&core, -1).await.unwrap();
    session.renew_replica(&core, paused, 60_000).await.unwrap();
    assert!(session.dead_replicas(&core).await.unwrap().is_empty());
    session.bury_replica(&core, paused).await.unwrap();
    session.renew_replica(&core, paused, 60_000).await.unwrap();
    let other = replica(&mut session).await;
    assert_eq!(session.other_replicas(&core, other).await.unwrap(), [paused]);
}

#[tokio::test]
async fn a_page_of_operations_has_each_with_its_own_steps() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let me = person("garden");
    for (number, steps) in [(1, &["a"][..]), (2, &[]), (3, &["b", "c"]), (4, &["d"])] {
        let home = network(&mut session, number).await;
        session.add_operation(&me, &NewOperation { steps, ..new(number, home) }).await.unwrap();
    }
    let page = session.operations(&me, Some(OperationId::from_bits(4)), 2).await.unwrap();
    let page: Vec<(u64, Vec<&str>)> =
        page.iter().map(|row| (row.id.bits(), row.steps.iter().map(|step| step.name.as_str()).collect())).collect();
    assert_eq!(page, [(3, vec!["b", "c"]), (2, vec![])]);
    assert!(session.operations(&person("other"), None, 10).await.unwrap().is_empty());
    assert_eq!(session.operations(&me, None, 10).await.unwrap().len(), 4);
}
