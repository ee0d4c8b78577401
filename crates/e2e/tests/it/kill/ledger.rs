//! The core's database, read as it lies there: whether allocations, jobs and operations are those of what is wanted.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor, Row};

use super::wishes::Wishes;

/// What the database holds against what is wanted, as one line for each difference.
pub async fn differences(database: &Path, wishes: &Wishes) -> Vec<String> {
    let options = SqliteConnectOptions::new().filename(database).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let (networks, instances, peers) = (wishes.networks.len(), wishes.instances.len(), wishes.peers.len());
    let admissions: usize = wishes.peers.values().map(Vec::len).sum();
    let mut differences = Vec::new();
    for (what, query, expected) in [
        ("slots", "SELECT COUNT(*) FROM slot", networks),
        ("segments", "SELECT COUNT(*) FROM segment", networks),
        ("subnets", "SELECT COUNT(*) FROM subnet", networks),
        ("addresses", "SELECT COUNT(*) FROM address WHERE instance IS NOT NULL", instances),
        ("MAC addresses", "SELECT COUNT(*) FROM mac", instances),
        ("placements", "SELECT COUNT(*) FROM placement", instances),
        ("peers' addresses", "SELECT COUNT(*) FROM peer_address WHERE peer IS NOT NULL", peers),
        ("admissions", "SELECT COUNT(*) FROM admission", admissions),
        ("secrets", "SELECT COUNT(*) FROM secret", networks + instances),
        ("networks on routers", "SELECT COUNT(*) FROM job WHERE object LIKE 'network/%'", networks),
        ("machines on hypervisors", "SELECT COUNT(*) FROM job WHERE object LIKE 'instance/%'", instances),
        ("operations under way", "SELECT COUNT(*) FROM operation WHERE state IN ('pending', 'running')", 0),
        ("tombstones", "SELECT COUNT(*) FROM job WHERE desired IS NULL", 0),
        (
            "jobs that are not applied",
            "SELECT COUNT(*) FROM job WHERE outcome IS NULL OR outcome <> 'applied' OR reported_revision <> revision",
            0,
        ),
        (
            "segments on hypervisors without a machine on them",
            "SELECT COUNT(*) FROM job j WHERE object LIKE 'segment/%' AND NOT EXISTS (SELECT 1 FROM placement p \
             JOIN address a ON a.instance = p.instance WHERE p.hypervisor = j.target AND a.network = j.resource)",
            0,
        ),
    ] {
        let row = connection.fetch_one(query).await.unwrap();
        let found = row.get::<i64, _>(0) as usize;
        if found != expected {
            differences.push(format!("{found} {what}, not {expected}"));
        }
    }
    connection.close().await.unwrap();
    differences
}
