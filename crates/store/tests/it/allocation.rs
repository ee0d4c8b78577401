use store::{Constraint, StoreError};
use types::{HostRange, MacAddr, Subnet};

use crate::ground::{Ground, instance, network, person, router};

fn range(start: &str, end: &str) -> HostRange {
    HostRange { start: start.parse().unwrap(), end: end.parse().unwrap() }
}

#[tokio::test]
async fn slots_and_segments_fill_gaps() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let me = person("garden");
    let router = router(&mut session).await;
    for number in 1..=3 {
        let id = network(&mut session, number).await;
        assert_eq!(u64::from(session.take_slot(&me, router, id).await.unwrap().get()), number);
        assert_eq!(u64::from(session.take_segment(&me, id).await.unwrap().get()), number);
    }
    session.release_network(&me, types::NetworkId::from_bits(2)).await.unwrap();
    let id = network(&mut session, 9).await;
    assert_eq!(session.take_slot(&me, router, id).await.unwrap().get(), 2);
    assert_eq!(session.take_segment(&me, id).await.unwrap().get(), 2);
}

#[tokio::test]
async fn subnets_of_a_router_never_overlap() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let me = person("garden");
    let router = router(&mut session).await;
    let pool: (Subnet, u8) = ("10.64.0.0/22".parse().unwrap(), 24);
    let wanted = Some("10.64.1.128/25".parse().unwrap());
    let first = network(&mut session, 1).await;
    session.take_subnet(&me, router, first, wanted, pool).await.unwrap();
    let mut taken = Vec::new();
    for number in 2..=4 {
        let id = network(&mut session, number).await;
        taken.push(session.take_subnet(&me, router, id, None, pool).await.unwrap().to_string());
    }
    assert_eq!(taken, ["10.64.0.0/24", "10.64.2.0/24", "10.64.3.0/24"]);
    let id = network(&mut session, 5).await;
    let full = session.take_subnet(&me, router, id, None, pool).await.unwrap_err();
    assert!(matches!(full, StoreError::Exhausted { .. }));
    for overlapping in ["10.64.1.0/24", "10.64.0.0/16", "10.64.1.192/26"] {
        let wanted = Some(overlapping.parse().unwrap());
        let refused = session.take_subnet(&me, router, id, wanted, pool).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused { constraint: Constraint::Unique }), "{overlapping}");
    }
}

#[tokio::test]
async fn addresses_are_given_once_and_rest() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let me = person("garden");
    let home = network(&mut session, 1).await;
    let ranges = [range("10.64.0.101", "10.64.0.102"), range("10.64.0.2", "10.64.0.2")];
    let mut taken = Vec::new();
    for number in 1..=3 {
        let id = instance(&mut session, number).await;
        taken.push(session.take_address(&me, home, id, None, &ranges).await.unwrap().to_string());
    }
    assert_eq!(taken, ["10.64.0.101", "10.64.0.102", "10.64.0.2"]);
    let late = instance(&mut session, 4).await;
    assert!(matches!(session.take_address(&me, home, late, None, &ranges).await, Err(StoreError::Exhausted { .. })));
    session.commit().await.unwrap();
    let wanted = Some("10.64.0.102".parse().unwrap());
    let refused = store.write().await.unwrap().take_address(&me, home, late, wanted, &ranges).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { constraint: Constraint::Address }), "{refused:?}");
    let mut session = store.write().await.unwrap();

    let until = session.now() + 3_600_000;
    session.release_instance(&me, types::InstanceId::from_bits(2), until).await.unwrap();
    assert!(session.take_address(&me, home, late, None, &ranges).await.is_err(), "it rests");
    let passed = session.now();
    session.release_instance(&me, types::InstanceId::from_bits(1), passed).await.unwrap();
    let address = session.take_address(&me, home, late, None, &ranges).await.unwrap();
    assert_eq!(address.to_string(), "10.64.0.101");
}

#[tokio::test]
async fn a_mac_address_is_drawn_again_in_the_same_transaction() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let me = person("garden");
    let (mac, other) = (MacAddr::of_guest([0, 0, 1]), MacAddr::of_guest([0, 0, 2]));
    let (one, two) = (instance(&mut session, 1).await, instance(&mut session, 2).await);
    assert!(session.take_mac(&me, one, mac).await.unwrap());
    assert!(!session.take_mac(&me, two, mac).await.unwrap());
    assert!(session.take_mac(&me, two, other).await.unwrap());
    session.commit().await.unwrap();
    let mut session = store.write().await.unwrap();
    let refused = session.take_mac(&me, one, MacAddr::of_guest([0, 0, 3])).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { constraint: Constraint::Unique }), "it has one: {refused:?}");
}
