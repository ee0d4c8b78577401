//! Requests to join, kept until somebody approves them.

use fleet::{FleetId, JoinRequest};

use crate::store::Store;

/// Requests that are kept; more are forgotten, and come again.
const REQUESTS: usize = 256;

/// Keeps a request, as long as there is room.
///
/// # Errors
/// As writing the file.
pub fn keep(store: &Store, fleet: FleetId, bytes: &[u8]) -> anyhow::Result<()> {
    let Ok(request) = JoinRequest::from_bytes(bytes) else { return Ok(()) };
    let Ok(asking) = request.open(fleet) else { return Ok(()) };
    let name = asking.device.to_string();
    let kept = store.list("requests")?;
    if kept.contains(&name) || kept.len() >= REQUESTS {
        return Ok(());
    }
    eprintln!("device {name} asks to join");
    store.write(&format!("requests/{name}"), bytes)
}
