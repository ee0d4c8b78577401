//! No path from guests to the host's input: one nft table whose chains drop what a bridge hands to the host itself.
//!
//! The family `netdev` sees a bridge's frames when they are for the host and not when they pass from port to port, and
//! sees ARP as well, which the family `inet` does not.

use crate::program::{run, run_with_input};

const TABLE: &str = "rhyzome-libvirt";

/// Drops everything that `bridge` hands to the host.
pub async fn raise(bridge: &str) -> anyhow::Result<()> {
    nft(&format!(
        "add table netdev {TABLE}\n\
         add chain netdev {TABLE} {bridge} {{ type filter hook ingress device \"{bridge}\" priority filter; policy drop; }}\n"
    ))
    .await
}

/// Forgets a bridge.
pub async fn lower(bridge: &str) -> anyhow::Result<()> {
    // There is no table before the first bridge and after the last.
    let table = run("nft", ["list", "table", "netdev", TABLE]).await.unwrap_or_default();
    match table.contains(&format!("chain {bridge} ")) {
        true => nft(&format!("delete chain netdev {TABLE} {bridge}\n")).await,
        false => Ok(()),
    }
}

/// Removes the table.
pub async fn remove() -> anyhow::Result<()> {
    // Added first, so that it is no error when it is not there.
    nft(&format!("add table netdev {TABLE}\ndelete table netdev {TABLE}\n")).await
}

async fn nft(script: &str) -> anyhow::Result<()> {
    run_with_input("nft", ["--file", "-"], script).await.map(drop)
}
