use std::collections::BTreeMap;

use serde_json::json;
use store::{Constraint, NewEvent, StoreError};
use types::{Generation, InstanceId, NetworkId};

use crate::ground::{Ground, add, network, person};

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let id = network(&mut session, 1).await;
    let stranger = person("orchard");
    assert!(matches!(session.resource(&stranger, id.into()).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(session.set_state(&stranger, id.into(), "ready").await, Err(StoreError::NotFound { .. })));
    assert!(matches!(session.forget_resource(&stranger, id.into()).await, Err(StoreError::NotFound { .. })));
    assert!(session.resources(&stranger, "network", None, 10).await.unwrap().is_empty());
    let event = NewEvent { resource: id.into(), change: "created", operation: None, message: None };
    session.add_event(&person("garden"), &event).await.unwrap();
    session.commit().await.unwrap();
    let mut session = store.read().await.unwrap();
    assert_eq!(session.events(&person("garden"), 0, 10).await.unwrap().len(), 1);
    assert!(session.events(&stranger, 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    network(&mut session, 1).await;
    let again = add(&mut session, NetworkId::from_bits(1)).await.unwrap_err();
    assert!(matches!(again, StoreError::Refused { constraint: Constraint::Name | Constraint::Unique }), "{again:?}");
}

#[tokio::test]
async fn a_status_changes_no_generation() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let id = network(&mut session, 1).await;
    let me = person("garden");
    session.set_status(&me, id.into(), &json!({"seen": true})).await.unwrap();
    let row = session.resource(&me, id.into()).await.unwrap();
    assert_eq!((row.generation, row.status), (Generation(1), json!({"seen": true})));
    session.set_spec(&me, id.into(), &row.name, &json!({"mtu": 1})).await.unwrap();
    assert_eq!(session.resource(&me, id.into()).await.unwrap().generation, Generation(2));
}

#[tokio::test]
async fn what_is_referred_to_stays() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let me = person("garden");
    let home = network(&mut session, 1).await;
    let hello = InstanceId::from_bits(2);
    add(&mut session, hello).await.unwrap();
    session.set_references(&me, hello.into(), &[home.into()]).await.unwrap();
    let referrers = session.referrers(&me, home.into()).await.unwrap();
    assert_eq!(referrers.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [hello.into()]);
    let refused = session.forget_resource(&me, home.into()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { constraint: Constraint::Reference }), "{refused:?}");
}

#[tokio::test]
async fn pages_and_tags_and_conditions_come_back() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let me = person("garden");
    for number in 1..=5 {
        network(&mut session, number).await;
    }
    let first = session.resources(&me, "network", None, 2).await.unwrap();
    let rest = session.resources(&me, "network", Some(first[1].id), 10).await.unwrap();
    assert_eq!((first.len(), rest.len()), (2, 3));
    let tags = BTreeMap::from([("team".parse().unwrap(), "roots".parse().unwrap())]);
    session.set_tags(&me, first[0].id, &tags).await.unwrap();
    session.set_condition(&me, first[0].id, "applied", false, Some("the router is away")).await.unwrap();
    session.set_condition(&me, first[0].id, "applied", true, None).await.unwrap();
    let row = session.resource(&me, first[0].id).await.unwrap();
    assert_eq!(row.tags, tags);
    assert_eq!((row.conditions.len(), row.conditions[0].holds), (1, true));
}

/// What other tables say of a resource comes as lists in texts: nothing in an item may end it early.
#[tokio::test]
async fn tags_and_conditions_come_whole() {
    let Ground { store, .. } = &Ground::new().await;
    let mut session = store.write().await.unwrap();
    let (me, id) = (person("garden"), network(&mut session, 1).await.into());
    let bare = session.resource(&me, id).await.unwrap();
    assert!(bare.tags.is_empty() && bare.conditions.is_empty() && bare.holder.is_none());
    let tags = [("team", "a=b, c"), ("empty", ""), ("room", "küche 2")];
    let tags = tags.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into();
    session.set_tags(&me, id, &tags).await.unwrap();
    let odd = "one\u{1f}two\nthree\u{1e}four";
    for (name, holds, reason) in [("c", false, Some(odd)), ("a", true, None), ("b", true, Some(""))] {
        session.set_condition(&me, id, name, holds, reason).await.unwrap();
    }
    let row = session.resource(&me, id).await.unwrap();
    assert_eq!(row.tags, tags);
    let told: Vec<_> = row.conditions.iter().map(|it| (it.name.as_str(), it.holds, it.reason.as_deref())).collect();
    let odd = odd.replace('\u{1e}', " ");
    assert_eq!(told, [("a", true, None), ("b", true, Some("")), ("c", false, Some(odd.as_str()))]);
    assert!(row.conditions.iter().all(|it| it.since == session.now()));
}
