//! What devices say of themselves: kept by masters, told by each device.

use fleet::DeviceId;

use crate::store::Store;

/// Keeps the newest status of a device.
///
/// # Errors
/// As writing the file.
pub fn keep(store: &Store, device: DeviceId, status: &[u8]) -> anyhow::Result<()> {
    store.write(&format!("status/{device}"), status)
}
