use std::collections::BTreeSet;
use std::sync::Arc;

use store::{Caller, NewEvent, Store, StoreError};
use types::{NetworkId, Segment};

use crate::ground::{Ground, add, network, person};

/// Transactions at the same time.
const MANY: u64 = 12;
/// Events that each of those who made them tells.
const EVENTS: u64 = 30;

async fn take(store: &Store, number: u64) -> Result<Segment, StoreError> {
    store::transact!(store, async |session| -> Result<Segment, StoreError> {
        let id = NetworkId::from_bits(number);
        add(session, id).await?;
        let segment = session.take_segment(&person("garden"), id).await?;
        let event = NewEvent { resource: id.into(), change: "created", operation: None, message: None };
        session.add_event(&Caller::core(), &event).await?;
        Ok(segment)
    })
    .await
}

async fn tell(store: &Store, number: u64) -> Result<(), StoreError> {
    let event =
        NewEvent { resource: NetworkId::from_bits(number).into(), change: "updated", operation: None, message: None };
    store::transact!(store, async |session| session.add_event(&Caller::core(), &event).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_take_at_once_is_given_once_and_told_without_a_gap() {
    let Ground { store, place: _place } = Ground::new().await;
    let store = Arc::new(store);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=MANY {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            take(&store, number).await.unwrap();
            for _ in 1..EVENTS {
                tell(&store, number).await.unwrap();
            }
        });
    }
    let caller = Caller::core();
    let (mut last, mut told) = (0, 0);
    while told < MANY * EVENTS {
        while tasks.try_join_next().is_some() {}
        let all_are_through = tasks.is_empty();
        let news = store.read().await.unwrap().events(&caller, last, 1000).await.unwrap();
        assert!(!(news.is_empty() && all_are_through), "{} events were missed", MANY * EVENTS - told);
        for event in news {
            assert!(event.sequence > last);
            (last, told) = (event.sequence, told + 1);
        }
        tokio::task::yield_now().await;
    }
    let mut session = store.read().await.unwrap();
    let mut segments = BTreeSet::new();
    for number in 1..=MANY {
        segments.insert(session.segment(&caller, NetworkId::from_bits(number)).await.unwrap().get());
    }
    assert_eq!(segments.len() as u64, MANY);
    assert_eq!(segments.last().copied().map(u64::from), Some(MANY), "none is left out");
}

#[tokio::test]
async fn what_a_constraint_refuses_is_refused_in_the_end() {
    let Ground { store, place: _place } = Ground::new().await;
    let mut session = store.write().await.unwrap();
    network(&mut session, 1).await;
    session.commit().await.unwrap();
    let mut runs = 0;
    let again = store::transact!(store, async |session| -> Result<(), StoreError> {
        runs += 1;
        add(session, NetworkId::from_bits(1)).await
    })
    .await;
    assert!(matches!(again, Err(StoreError::Refused { .. })), "{again:?}");
    assert!(runs <= 2, "it was run {runs} times");
}

#[tokio::test]
async fn what_fails_is_undone() {
    let Ground { store, place: _place } = Ground::new().await;
    let failed = store::transact!(store, async |session| -> Result<(), StoreError> {
        network(session, 1).await;
        Err(StoreError::Fenced)
    })
    .await;
    assert!(matches!(failed, Err(StoreError::Fenced)));
    let found = store.read().await.unwrap().resource(&person("garden"), NetworkId::from_bits(1).into()).await;
    assert!(matches!(found, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn an_empty_database_is_as_it_must_be() {
    let Ground { store, place: _place } = Ground::new().await;
    let mut session = store.read().await.unwrap();
    assert_eq!(session.violations().await.unwrap().len(), 0);
    assert!(session.census().await.unwrap().values().all(|count| *count == 0));
}
