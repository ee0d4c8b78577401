use store::{Caller, NewConnection, NewInvitation, StoreError};
use types::{InvitationId, ReplicaId, Sha256Digest};

use crate::ground::{Ground, replica, router};

fn digest(byte: u8) -> Sha256Digest {
    Sha256Digest::from_bytes([byte; 32])
}

/// An agent that cannot read its target, which says nothing of what that can take.
fn connection(replica: ReplicaId) -> NewConnection<'static> {
    NewConnection {
        replica,
        protocol: 2,
        software: "test",
        features: &[],
        certificate_until: 0,
        capacity: Err("the router is off"),
    }
}

#[tokio::test]
async fn an_invitation_makes_one_agent() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let target = router(&mut session).await;
    let (id, late) = (InvitationId::from_bits(1), InvitationId::from_bits(2));
    let now = session.now();
    for (id, expires_at) in [(id, now + 1000), (late, now - 1)] {
        let new = NewInvitation { id, target, sha256: digest(1), expires_at };
        session.add_invitation(&Caller::core(), &new).await.unwrap();
    }
    assert!(session.redeem_invitation(late, digest(1), digest(7)).await.unwrap().is_none(), "expired");
    assert!(session.redeem_invitation(id, digest(2), digest(7)).await.unwrap().is_none(), "a guess");
    let first = session.redeem_invitation(id, digest(1), digest(7)).await.unwrap().unwrap();
    let again = session.redeem_invitation(id, digest(1), digest(7)).await.unwrap().unwrap();
    assert_eq!((first.agent, first.target), (again.agent, again.target), "the same key asks again");
    assert!(session.redeem_invitation(id, digest(1), digest(8)).await.unwrap().is_none(), "another key");
}

#[tokio::test]
async fn a_newer_session_fences_the_older() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let target = router(&mut session).await;
    let new =
        NewInvitation { id: InvitationId::from_bits(1), target, sha256: digest(1), expires_at: session.now() + 1000 };
    session.add_invitation(&Caller::core(), &new).await.unwrap();
    let agent = session.redeem_invitation(new.id, digest(1), digest(7)).await.unwrap().unwrap().agent;
    let replica = replica(&mut session).await;
    let older = session.connect_agent(agent, connection(replica)).await.unwrap();
    let newer = session.connect_agent(agent, connection(replica)).await.unwrap();
    assert!(matches!(session.guard_agent(agent, older).await, Err(StoreError::Fenced)));
    session.guard_agent(agent, newer).await.unwrap();
    session.disconnect_agent(agent, older).await.unwrap();
    assert!(session.is_connected(target).await.unwrap(), "the older session's end is no news");
    session.disconnect_agent(agent, newer).await.unwrap();
    assert!(!session.is_connected(target).await.unwrap());
}

#[tokio::test]
async fn a_newer_session_fences_those_of_other_agents_of_its_target() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let (target, me) = (router(&mut session).await, Caller::core());
    let (first, second) =
        (session.register_agent(&me, target).await.unwrap(), session.register_agent(&me, target).await.unwrap());
    let elsewhere = session.ensure_target(&me, &crate::ground::tenant("garden"), "router", "edge").await.unwrap();
    let other = session.register_agent(&me, elsewhere).await.unwrap();
    let replica = replica(&mut session).await;
    let untouched = session.connect_agent(other, connection(replica)).await.unwrap();
    let mut newest = 0;
    let mut before = None;
    for agent in [first, second, second, first, second] {
        let number = session.connect_agent(agent, connection(replica)).await.unwrap();
        assert!(number > newest, "numbers of one target only rise");
        newest = number;
        session.guard_agent(agent, number).await.unwrap();
        if let Some((older, number)) = before.replace((agent, number)) {
            assert!(matches!(session.guard_agent(older, number).await, Err(StoreError::Fenced)));
            session.disconnect_agent(older, number).await.unwrap();
        }
        assert!(session.is_connected(target).await.unwrap());
    }
    session.guard_agent(other, untouched).await.unwrap();
}

#[tokio::test]
async fn the_agents_of_a_dead_replica_are_away() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let target = router(&mut session).await;
    let new =
        NewInvitation { id: InvitationId::from_bits(1), target, sha256: digest(1), expires_at: session.now() + 1000 };
    session.add_invitation(&Caller::core(), &new).await.unwrap();
    let agent = session.redeem_invitation(new.id, digest(1), digest(7)).await.unwrap().unwrap().agent;
    let (dead, alive) = (replica(&mut session).await, replica(&mut session).await);
    let lost = session.connect_agent(agent, connection(dead)).await.unwrap();
    assert!(session.bury_replica(&Caller::core(), alive).await.unwrap().is_empty(), "it is not that one's");
    assert!(session.is_connected(target).await.unwrap());
    assert_eq!(session.bury_replica(&Caller::core(), dead).await.unwrap(), [target]);
    assert!(!session.is_connected(target).await.unwrap());
    assert!(matches!(session.guard_agent(agent, lost).await, Err(StoreError::Fenced)), "even if it lives");
}

#[tokio::test]
async fn a_target_that_cannot_be_read_is_idle_and_keeps_its_capacity() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let (target, me) = (router(&mut session).await, Caller::core());
    let agent = session.register_agent(&me, target).await.unwrap();
    let replica = replica(&mut session).await;
    let capacity = serde_json::json!({ "note": "a fine router" });
    let name = session.target_words(target).await.unwrap();
    let well = NewConnection { capacity: Ok(&capacity), ..connection(replica) };
    for (new, idle) in [
        (None, Some(format!("the agent of {name} is not connected"))),
        (Some(well), None),
        (Some(connection(replica)), Some(format!("{name}: the router is off"))),
    ] {
        if let Some(new) = new {
            session.connect_agent(agent, new).await.unwrap();
        }
        assert_eq!(session.idle_target(target).await.unwrap().map(|idle| idle.to_string()), idle);
    }
    let row = session.targets(&me, None).await.unwrap().into_iter().find(|row| row.target.id == target).unwrap();
    assert_eq!((row.target.trouble.as_deref(), row.capacity), (Some("the router is off"), capacity));
}
