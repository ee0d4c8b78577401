use store::StoreError;
use types::{NetworkId, SecretText};

use crate::ground::{Ground, add, open, person};

#[tokio::test]
async fn a_database_is_itself_again_and_knows_its_key() {
    let Ground { dir, store } = Ground::new().await;
    let installation = store.installation();
    let mut session = store.write().await.unwrap();
    let id = NetworkId::from_bits(1);
    add(&mut session, id).await.unwrap();
    let secret =
        session.add_secret(&person("garden"), id.into(), "key", &SecretText::new("hush".into())).await.unwrap();
    session.commit().await.unwrap();
    store.close().await;

    let refused = open(&dir, 2).await.err().unwrap();
    assert!(refused.to_string().contains("key file does not belong"), "{refused}");
    let store = open(&dir, 1).await.unwrap();
    assert_eq!(store.installation(), installation);
    let mut session = store.read().await.unwrap();
    assert_eq!(session.secret(&person("garden"), secret).await.unwrap().reveal(), "hush");
    assert!(matches!(session.secret(&person("orchard"), secret).await, Err(StoreError::NotFound { .. })));
    let bytes = std::fs::read(dir.path().join("db.sqlite")).unwrap();
    assert!(!bytes.windows(4).any(|window| window == b"hush"), "secrets are sealed on disk");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Ground { dir, store } = Ground::new().await;
    store.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.path().join("db.sqlite"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 99").execute(&pool).await.unwrap();
    pool.close().await;
    let refused = open(&dir, 1).await.err().unwrap();
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
