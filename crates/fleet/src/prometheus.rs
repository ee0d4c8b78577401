//! The fleet in the text format of Prometheus (exposition format 0.0.4).

use std::fmt::Write;
use std::time::Duration;

use crate::{DeviceId, DeviceName, GroupName};
use crate::{Flags, Vitals};

/// A device as its master knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Its record.
    pub id: DeviceId,
    /// What people call it.
    pub name: DeviceName,
    /// Its groups.
    pub groups: Vec<GroupName>,
    /// How long ago it was heard of; nothing where it never was.
    pub seen: Option<Duration>,
    /// What it said then.
    pub vitals: Option<Vitals>,
    /// Whether it is counted as being there.
    pub is_online: bool,
}

/// A metric of devices: name, help, and its value.
type Metric = (&'static str, &'static str, fn(&Observed) -> Option<f64>);

const METRICS: &[Metric] = &[
    ("dusk_device_up", "Whether the device is there.", |device| Some(f64::from(u8::from(device.is_online)))),
    ("dusk_device_seen_seconds", "How long ago the device was heard of.", |device| {
        device.seen.map(|seen| seen.as_secs_f64().floor())
    }),
    ("dusk_device_uptime_seconds", "How long the device has been running.", |device| {
        device.vitals.map(|vitals| f64::from(vitals.uptime) * 60.0)
    }),
    ("dusk_device_boots", "How often the agent has started.", |device| {
        device.vitals.map(|vitals| f64::from(vitals.boots))
    }),
    ("dusk_device_load1", "The load of the last minute.", |device| {
        device.vitals.map(|vitals| f64::from(vitals.load) / 16.0)
    }),
    ("dusk_device_memory_free_ratio", "The part of the memory that is free.", |device| {
        device.vitals.map(|vitals| f64::from(vitals.memory) / 100.0)
    }),
    ("dusk_device_flash_free_ratio", "The part of the flash that is free.", |device| {
        device.vitals.map(|vitals| f64::from(vitals.flash) / 100.0)
    }),
    ("dusk_device_clients", "Wireless clients.", |device| device.vitals.map(|vitals| f64::from(vitals.clients))),
    ("dusk_device_reverted", "Whether the last change was rolled back.", |device| flag(device, Flags::REVERTED)),
    ("dusk_device_drifted", "Whether somebody else changed what the fleet manages.", |device| {
        flag(device, Flags::DRIFTED)
    }),
    ("dusk_device_paused", "Whether a technician has paused the device.", |device| flag(device, Flags::PAUSED)),
    ("dusk_device_fork", "Whether the device holds proof of a fork.", |device| flag(device, Flags::FORK)),
];

fn flag(device: &Observed, flag: Flags) -> Option<f64> {
    device.vitals.map(|vitals| f64::from(u8::from(vitals.flags.contains(flag))))
}

/// The metrics of all devices.
#[must_use]
pub fn text(devices: &[Observed]) -> String {
    let mut out = String::new();
    for (name, help, value) in METRICS {
        // Writing to a string cannot fail.
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for device in devices {
            let Some(value) = value(device) else { continue };
            let groups: Vec<&str> = device.groups.iter().map(GroupName::as_str).collect();
            let _ = writeln!(
                out,
                "{name}{{device=\"{}\",name=\"{}\",groups=\"{}\"}} {value}",
                device.id,
                device.name,
                groups.join(",")
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_a_line_of_what_is_known() {
        let device = Observed {
            id: "00112233445566778899".parse().unwrap(),
            name: "attic".parse().unwrap(),
            groups: vec!["all".parse().unwrap(), "ap".parse().unwrap()],
            seen: Some(Duration::from_millis(1500)),
            vitals: Some(Vitals { load: 24, ..Vitals::parse(&[0; 12]) }),
            is_online: true,
        };
        let silent =
            Observed { name: "yard".parse().unwrap(), seen: None, vitals: None, is_online: false, ..device.clone() };
        let text = text(&[device, silent]);
        let labels = "device=\"00112233445566778899\",name=\"attic\",groups=\"all,ap\"";
        assert!(text.contains(&format!("\ndusk_device_load1{{{labels}}} 1.5\n")), "{text}");
        assert!(text.contains(&format!("\ndusk_device_seen_seconds{{{labels}}} 1\n")), "{text}");
        let of_silent = text.lines().filter(|line| line.contains("name=\"yard\"")).count();
        assert_eq!(of_silent, 1, "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let metric = line.split('{').next().unwrap();
            assert!(text.contains(&format!("# TYPE {metric} gauge\n")), "{line}");
        }
    }
}
