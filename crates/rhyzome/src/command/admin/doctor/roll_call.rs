//! Who works for the installation, and whether they still may: agents' certificates, cores' releases and clocks.

use std::collections::BTreeMap;

use store::{AgentRecord, Caller, ReplicaRow, Session, Violation};
use types::TargetId;

use crate::replica::RELEASE;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Agents renew when a third of a certificate's life is left; with less than this something keeps them from it.
const LATE_MS: i64 = pki::AGENT_DAYS as i64 * DAY_MS / 4;
/// How long an agent that was revoked and still tries is told of.
const RECENT_MS: i64 = DAY_MS;
/// How far a core's clock may be from the database's.
const APART_MS: i64 = 5_000;

/// Agents whose certificates end, and those that try although they were revoked.
pub async fn agents<Mode>(session: &mut Session<'_, Mode>) -> anyhow::Result<Vec<Violation>> {
    let records = session.agent_records(&Caller::core()).await?;
    Ok(judge_agents(&records, session.now()))
}

/// Cores that are of another release than this program, or whose clocks are wrong.
pub async fn cores<Mode>(session: &mut Session<'_, Mode>) -> anyhow::Result<Vec<Violation>> {
    Ok(judge_cores(&session.replicas(&Caller::core()).await?))
}

fn judge_agents(records: &[AgentRecord], now: i64) -> Vec<Violation> {
    // Of a target's agents the newest counts; those before it have nothing to renew.
    let newest: BTreeMap<TargetId, &AgentRecord> = records
        .iter()
        .filter(|record| record.revoked_at.is_none())
        .map(|record| (record.agent.target, record))
        .collect();
    let certificates = newest.into_values().filter_map(|record| {
        let left = record.certificate_until? - now;
        let (what, remedy) = match left {
            ..0 => (
                "its agent's certificate has expired",
                "the agent renews it by itself once it reaches the core, for 90 days; invite it again after that",
            ),
            0..LATE_MS => (
                "its agent's certificate ends soon and was not renewed",
                "the agent's log says why; a certificate of another CA is renewed by whoever issued it",
            ),
            _ => return None,
        };
        Some(Violation { subject: words(record), what, remedy })
    });
    let revoked = records.iter().filter(|record| {
        let recent = |at: i64| now - at < RECENT_MS;
        record.revoked_at.is_some() && record.refused_at.is_some_and(recent)
    });
    let revoked = revoked.map(|record| Violation {
        subject: format!("{}, agent {}", words(record), record.agent.agent),
        what: "it was revoked and tries to connect all the same",
        remedy: "stop that agent; if nobody runs it, somebody else has its key, and it stays refused",
    });
    certificates.chain(revoked).collect()
}

fn judge_cores(replicas: &[ReplicaRow]) -> Vec<Violation> {
    let mut found = Vec::new();
    for row in replicas {
        if row.software != RELEASE {
            found.push(Violation {
                subject: format!("{}, a core of release {}", row.id, row.software),
                what: "it is of another release than this program",
                remedy: "run the same release everywhere, and use that release's rhyzome admin",
            });
        }
        if row.ahead_ms.abs() > APART_MS {
            let (seconds, way) = (row.ahead_ms.abs() / 1000, if row.ahead_ms > 0 { "ahead of" } else { "behind" });
            found.push(Violation {
                subject: format!("{}, whose clock is {seconds} s {way} the database's", row.id),
                what: "a core's clock is wrong",
                remedy: "have both machines keep their time by NTP: certificates are judged by it",
            });
        }
    }
    found
}

fn words(record: &AgentRecord) -> String {
    format!("{} {}", record.kind, record.name)
}

#[cfg(test)]
mod tests {
    use store::EnrolledAgent;
    use types::{AgentId, ReplicaId};

    use super::*;

    const NOW: i64 = 1_000 * DAY_MS;

    fn record(agent: u64, until: i64) -> AgentRecord {
        AgentRecord {
            agent: EnrolledAgent { agent: AgentId::from_bits(agent), target: TargetId::from_bits(1) },
            tenant: "local".parse().unwrap(),
            kind: "router".to_owned(),
            name: "main".to_owned(),
            connected: true,
            software: None,
            protocol: None,
            last_seen_at: None,
            revoked_at: None,
            refused_at: None,
            certificate_until: Some(NOW + until),
        }
    }

    fn told(records: &[AgentRecord]) -> Vec<&'static str> {
        judge_agents(records, NOW).into_iter().map(|found| found.what).collect()
    }

    #[test]
    fn certificates_that_end_are_told_of_and_older_agents_are_not() {
        assert_eq!(told(&[record(1, -1)]), ["its agent's certificate has expired"]);
        assert_eq!(told(&[record(1, LATE_MS - 1)]), ["its agent's certificate ends soon and was not renewed"]);
        assert_eq!(told(&[record(1, LATE_MS)]), [""; 0]);
        assert_eq!(told(&[record(1, -1), record(2, LATE_MS)]), [""; 0], "another agent works the target by now");
    }

    #[test]
    fn who_was_revoked_and_tries_is_told_of_for_a_day() {
        let revoked = |refused_at| AgentRecord { revoked_at: Some(1), refused_at, ..record(1, -1) };
        assert_eq!(told(&[revoked(None)]), [""; 0]);
        assert_eq!(told(&[revoked(Some(NOW - 1))]), ["it was revoked and tries to connect all the same"]);
        assert_eq!(told(&[revoked(Some(NOW - RECENT_MS))]), [""; 0]);
    }

    #[test]
    fn cores_are_of_one_release_and_of_one_time() {
        let row = |software: &str, ahead_ms| ReplicaRow {
            id: ReplicaId::from_bits(1),
            software: software.to_owned(),
            ahead_ms,
        };
        let told = |row| judge_cores(&[row]).into_iter().map(|found| found.subject).collect::<Vec<_>>();
        assert_eq!(told(row(RELEASE, APART_MS)), [""; 0]);
        assert!(told(row("0.0.1", 0))[0].contains("release 0.0.1"));
        assert!(told(row(RELEASE, 7_000))[0].contains("7 s ahead of"));
        assert!(told(row(RELEASE, -7_000))[0].contains("7 s behind"));
    }
}
