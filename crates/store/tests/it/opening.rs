use store::StoreError;
use types::{NetworkId, SecretText};

use crate::ground::{Ground, add, person, place};

#[tokio::test]
async fn a_database_is_itself_again_and_knows_its_key() {
    let Ground { store, place } = Ground::new().await;
    let installation = store.installation();
    let mut session = store.write().await.unwrap();
    let id = NetworkId::from_bits(1);
    add(&mut session, id).await.unwrap();
    let secret =
        session.add_secret(&person("garden"), id.into(), "key", &SecretText::new("hush".into())).await.unwrap();
    session.commit().await.unwrap();
    store.close().await;

    let refused = place.open(2).await.err().unwrap();
    assert!(refused.to_string().contains("key file does not belong"), "{refused}");
    let store = place.open(1).await.unwrap();
    assert_eq!(store.installation(), installation);
    let mut session = store.read().await.unwrap();
    assert_eq!(session.secret(&person("garden"), secret).await.unwrap().reveal(), "hush");
    assert!(matches!(session.secret(&person("orchard"), secret).await, Err(StoreError::NotFound { .. })));
    if let Some(file) = place.file() {
        let bytes = std::fs::read(file).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"hush"), "secrets are sealed on disk");
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Ground { store, place } = Ground::new().await;
    store.close().await;
    place
        .run(match place.file() {
            Some(_) => "PRAGMA user_version = 99",
            None => "UPDATE schema_version SET version = 99",
        })
        .await;
    let refused = place.open(1).await.err().unwrap();
    assert!(refused.to_string().contains("schema 99"), "{refused}");
}

#[tokio::test]
async fn what_is_not_committed_is_not_there() {
    let Ground { store, .. } = &Ground::new().await;
    let id = NetworkId::from_bits(1);
    let mut session = store.write().await.unwrap();
    add(&mut session, id).await.unwrap();
    drop(session);
    let found = store.write().await.unwrap().resource(&person("garden"), id.into()).await;
    assert!(matches!(found, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn many_open_an_empty_database_at_once_and_make_one_installation() {
    for _ in 0..20 {
        let place = place().await;
        let opened = tokio::join!(place.open(1), place.open(1), place.open(1), place.open(1));
        let first = opened.0.unwrap().installation();
        for other in [opened.1, opened.2, opened.3] {
            assert_eq!(other.unwrap().installation(), first);
        }
    }
}
