//! What devices say of themselves: kept by masters, told by each device.

use fleet::DeviceId;
use fleet::status::Status;

use super::applying::Applying;
use crate::store::Store;

/// Keeps the newest status of a device.
///
/// # Errors
/// As writing the file.
pub fn keep(store: &Store, device: DeviceId, status: &[u8]) -> anyhow::Result<()> {
    store.write(&format!("status/{device}"), status)
}

/// This device's own status, as far as applying goes.
pub fn own(applying: &Applying) -> Vec<u8> {
    Status { results: applying.results(), remarks: applying.remarks().to_vec(), ..Status::default() }.encode()
}
