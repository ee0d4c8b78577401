//! The first start on an empty directory.

use crate::installation::Installation;

/// Several programs that began on an empty directory at once made keys and schemas of their own.
#[tokio::test(flavor = "multi_thread")]
async fn many_may_begin_at_once() {
    let installation = &Installation::prepare().await;
    let names: Vec<String> = (0..6).map(|number| format!("token-{number}")).collect();
    let all = names.iter().map(|name| installation.token("local", &["*:*"], name));
    futures_util::future::join_all(all).await;
}
