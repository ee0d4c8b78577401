//! `diplonat status`: asks the running diplonat.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;

use crate::status::Status;

/// How long it may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The status as it was sent, and as it was meant.
pub async fn fetch(at: SocketAddr) -> anyhow::Result<(String, Status)> {
    let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build()?;
    let asked = client.get(format!("http://{at}/v1/status")).send().await;
    let answer = asked.with_context(|| format!("no diplonat answers at {at}; is it running?"))?;
    let text = answer.error_for_status()?.text().await?;
    let status = serde_json::from_str(&text).with_context(|| format!("what answers at {at} is no diplonat"))?;
    Ok((text + "\n", status))
}
