use store::{Caller, NewInvitation, StoreError};
use types::{InvitationId, Sha256Digest};

use crate::ground::{Ground, replica, router};

fn digest(byte: u8) -> Sha256Digest {
    Sha256Digest::from_bytes([byte; 32])
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
    let older = session.connect_agent(agent, replica, 2, "test", &[], &serde_json::json!({})).await.unwrap();
    let newer = session.connect_agent(agent, replica, 2, "test", &[], &serde_json::json!({})).await.unwrap();
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
    let none = serde_json::json!({});
    let untouched = session.connect_agent(other, replica, 2, "test", &[], &none).await.unwrap();
    let mut newest = 0;
    let mut before = None;
    for agent in [first, second, second, first, second] {
        let number = session.connect_agent(agent, replica, 2, "test", &[], &none).await.unwrap();
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
    let lost = session.connect_agent(agent, dead, 2, "test", &[], &serde_json::json!({})).await.unwrap();
    assert!(session.bury_replica(&Caller::core(), alive).await.unwrap().is_empty(), "it is not that one's");
    assert!(session.is_connected(target).await.unwrap());
    assert_eq!(session.bury_replica(&Caller::core(), dead).await.unwrap(), [target]);
    assert!(!session.is_connected(target).await.unwrap());
    assert!(matches!(session.guard_agent(agent, lost).await, Err(StoreError::Fenced)), "even if it lives");
}
