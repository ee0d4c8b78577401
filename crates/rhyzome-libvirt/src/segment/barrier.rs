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
         add chain netdev {TABLE} {bridge} {{ type filter hook ingress device \"{bridge}\" priority filter; policy drop; }}\n\
         flush chain netdev {TABLE} {bridge}\n"
    ))
    .await
}

/// Raises it again where it is not as it was raised. Says whether it had to be.
pub async fn restore(bridges: impl Iterator<Item = String>) -> anyhow::Result<bool> {
    let table = listing().await;
    let mut changed = false;
    for bridge in bridges.filter(|bridge| !stands(&table, bridge)) {
        raise(&bridge).await?;
        changed = true;
    }
    Ok(changed)
}

/// Whether a bridge's chain drops everything, and nothing else.
fn stands(table: &str, bridge: &str) -> bool {
    let head = format!("chain {bridge} {{");
    let mut chain = table.lines().map(str::trim).skip_while(|line| *line != head).skip(1);
    let hook = chain.next().unwrap_or_default();
    hook.contains(&format!("\"{bridge}\"")) && hook.ends_with("policy drop;") && chain.next() == Some("}")
}

/// Forgets a bridge.
pub async fn lower(bridge: &str) -> anyhow::Result<()> {
    match listing().await.contains(&format!("chain {bridge} ")) {
        true => nft(&format!("delete chain netdev {TABLE} {bridge}\n")).await,
        false => Ok(()),
    }
}

/// Removes the table.
pub async fn remove() -> anyhow::Result<()> {
    // Added first, so that it is no error when it is not there.
    nft(&format!("add table netdev {TABLE}\ndelete table netdev {TABLE}\n")).await
}

/// The table as the kernel has it; there is none before the first bridge and after the last.
async fn listing() -> String {
    run("nft", ["list", "table", "netdev", TABLE]).await.unwrap_or_default()
}

async fn nft(script: &str) -> anyhow::Result<()> {
    run_with_input("nft", ["--file", "-"], script).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_lets_anything_through_does_not_stand() {
        let table = |inside: &str| {
            format!("table netdev rhyzome-libvirt {{\n\tchain rzb1f {{\n{inside}\t}}\n\n\tchain rzb2 {{\n\t}}\n}}\n")
        };
        let hook = "\t\ttype filter hook ingress device \"rzb1f\" priority filter; policy drop;\n";
        assert!(stands(&table(hook), "rzb1f"));
        for inside in [hook.replace("drop", "accept"), format!("{hook}\t\taccept\n"), String::new()] {
            assert!(!stands(&table(&inside), "rzb1f"), "{inside}");
        }
        assert!(!stands(&table(hook), "rzb2") && !stands(&table(hook), "rzb3") && !stands("", "rzb1f"));
    }
}
