//! The fleet on one page: a row for each device, as its master sees it; the form in which a running node hands it out.

use fleet::prometheus::Observed;
use fleet::{DeviceId, DeviceName, Flags, GroupName, LogIndex, Vitals};
use serde_json::{Value, json};

/// A device as its master sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its record.
    pub id: DeviceId,
    /// What people call it.
    pub name: DeviceName,
    /// Its groups.
    pub groups: Vec<GroupName>,
    /// What it does for others: `master`, `backup`, `witness` or nothing.
    pub role: &'static str,
    /// Where it was heard from.
    pub address: Option<String>,
    /// When it was heard of, in seconds since 1970.
    pub seen: Option<u64>,
    /// Whether it is there.
    pub is_online: bool,
    /// How far the configuration reaches that it holds.
    pub index: LogIndex,
    /// How it is.
    pub vitals: Option<Vitals>,
    /// Its firmware.
    pub firmware: String,
    /// What became of the newest change.
    pub outcome: String,
}

/// The words for what a device says with one bit.
const FLAGS: &[(Flags, &str)] = &[
    (Flags::APPLYING, "applying"),
    (Flags::REVERTED, "reverted"),
    (Flags::DRIFTED, "drifted"),
    (Flags::PAUSED, "paused"),
    (Flags::FORK, "fork"),
    (Flags::FULL, "full"),
];
const ROLES: &[&str] = &["master", "backup", "witness"];

impl Row {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let groups: Vec<&str> = self.groups.iter().map(GroupName::as_str).collect();
        json!({
            "id": self.id.to_string(), "name": self.name.to_string(), "groups": groups, "role": self.role,
            "address": self.address, "seen": self.seen, "online": self.is_online, "index": self.index,
            "vitals": self.vitals.as_ref().map(vitals_to_json),
            "firmware": self.firmware, "outcome": self.outcome,
        })
    }

    /// From JSON; nothing where it is no row.
    #[must_use]
    pub fn from_json(told: &Value) -> Option<Self> {
        let text = |name: &str| told.get(name).and_then(Value::as_str);
        let groups = told.get("groups")?.as_array()?.iter();
        let role = text("role")?;
        Some(Self {
            id: text("id")?.parse().ok()?,
            name: text("name")?.parse().ok()?,
            groups: groups.filter_map(|group| group.as_str()?.parse().ok()).collect(),
            role: ROLES.iter().find(|known| **known == role).copied().unwrap_or_default(),
            address: text("address").map(str::to_owned),
            seen: told.get("seen").and_then(Value::as_u64),
            is_online: told.get("online")?.as_bool()?,
            index: told.get("index")?.as_u64()?,
            vitals: told.get("vitals").and_then(vitals_from_json),
            firmware: text("firmware")?.to_owned(),
            outcome: text("outcome")?.to_owned(),
        })
    }

    /// What Prometheus is told of it.
    #[must_use]
    pub fn observed(&self, now: u64) -> Observed {
        Observed {
            id: self.id,
            name: self.name.clone(),
            groups: self.groups.clone(),
            seen: self.seen.map(|seen| std::time::Duration::from_secs(now.saturating_sub(seen))),
            vitals: self.vitals,
            is_online: self.is_online,
        }
    }

    /// The words of its flags.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let flags = self.vitals.map(|vitals| vitals.flags).unwrap_or_default();
        FLAGS.iter().filter(move |(flag, _)| flags.contains(*flag)).map(|(_, word)| *word)
    }
}

fn vitals_to_json(vitals: &Vitals) -> Value {
    let flags: Vec<&str> =
        FLAGS.iter().filter(|(flag, _)| vitals.flags.contains(*flag)).map(|(_, word)| *word).collect();
    json!({
        "boots": vitals.boots, "uptime_minutes": vitals.uptime, "load": f64::from(vitals.load) / 16.0,
        "memory_free_percent": vitals.memory, "flash_free_percent": vitals.flash, "clients": vitals.clients,
        "flags": flags,
    })
}

fn vitals_from_json(told: &Value) -> Option<Vitals> {
    let number = |name: &str| told.get(name).and_then(Value::as_u64);
    let words: Vec<&str> = told.get("flags")?.as_array()?.iter().filter_map(Value::as_str).collect();
    let flags = FLAGS.iter().filter(|(_, word)| words.contains(word));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast to u8 keeps within its bounds")]
    let load = (told.get("load")?.as_f64()? * 16.0) as u8;
    Some(Vitals {
        boots: number("boots")?.try_into().ok()?,
        uptime: number("uptime_minutes")?.try_into().ok()?,
        load,
        memory: number("memory_free_percent")?.try_into().ok()?,
        flash: number("flash_free_percent")?.try_into().ok()?,
        clients: number("clients")?.try_into().ok()?,
        flags: flags.fold(Flags::default(), |all, (flag, _)| all.with(*flag)),
    })
}

/// Rows as text, one JSON object a line.
#[must_use]
pub fn print(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{}\n", row.to_json())).collect()
}

/// The rows that a text has; lines that are none are passed over.
#[must_use]
pub fn parse(text: &str) -> Vec<Row> {
    text.lines().filter_map(|line| Row::from_json(&serde_json::from_str(line).ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_handed_out() {
        let flags = Flags::DRIFTED.with(Flags::FULL);
        let vitals = Vitals { boots: 3, uptime: 70, load: 24, memory: 40, flash: 7, clients: 12, flags };
        let row = Row {
            id: "00112233445566778899".parse().unwrap(),
            name: "attic".parse().unwrap(),
            groups: vec!["ap".parse().unwrap()],
            role: "backup",
            address: Some("192.0.2.1:4747".to_owned()),
            seen: Some(1_700_000_000),
            is_online: true,
            index: 7,
            vitals: Some(vitals),
            firmware: "OpenWrt 24.10.0".to_owned(),
            outcome: "reverted: probe \"wan\"\nfailed".to_owned(),
        };
        let silent = Row { vitals: None, seen: None, address: None, is_online: false, role: "", ..row.clone() };
        let text = print(&[row.clone(), silent.clone()]);
        assert_eq!(parse(&format!("{text}nonsense\n")), [row.clone(), silent]);
        assert_eq!(row.flags().collect::<Vec<_>>(), ["drifted", "full"]);
    }
}
