use serde_json::json;
use store::{Caller, Constraint, NewOperation, StoreError};
use types::{NetworkId, OperationId};

use crate::ground::{Ground, network, person};

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
    let second = session.add_operation(&me, &new(2, home)).await.unwrap_err();
    assert!(matches!(second, StoreError::Refused { constraint: Constraint::Operation }), "{second:?}");

    let claim = session.claim_operation(&Caller::core(), "one", 60_000).await.unwrap().unwrap();
    assert!(session.claim_operation(&Caller::core(), "two", 60_000).await.unwrap().is_none(), "it is claimed");
    session.guard(claim).await.unwrap();
    session.set_step(claim, 0, "running", None, Some(&json!([1]))).await.unwrap();
    session.preempt_operation(&me, home.into(), "another came").await.unwrap();
    assert!(matches!(session.guard(claim).await, Err(StoreError::Fenced)));
    session.add_operation(&me, &new(3, home)).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_ran_out_is_taken_over() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let home = network(&mut session, 1).await;
    session.add_operation(&person("garden"), &new(1, home)).await.unwrap();
    let lost = session.claim_operation(&Caller::core(), "one", -1).await.unwrap().unwrap();
    let taken = session.claim_operation(&Caller::core(), "two", 60_000).await.unwrap().unwrap();
    assert_eq!(taken.attempt, lost.attempt + 1);
    assert!(matches!(session.guard(lost).await, Err(StoreError::Fenced)));
    session.guard(taken).await.unwrap();
    session.give_up_leases(&Caller::core(), "two").await.unwrap();
    assert!(session.claim_operation(&Caller::core(), "three", 60_000).await.unwrap().is_some());
}
