//! Instances.

use api::Instance;
use api::instance::{Guest, Power, PowerState};
use types::Tags;

use super::{Names, View, known};
use crate::output::Facts;
use crate::value::show_bytes;

impl View for Instance {
    const COLUMNS: &'static [&'static str] =
        &["NAME", "ID", "STATE", "POWER", "ADDRESS", "NETWORK", "IMAGE", "CPUS", "MEMORY", "GUEST"];
    const REFERS: bool = true;

    fn row(&self, names: &Names) -> Vec<String> {
        vec![
            self.name.to_string(),
            self.id.to_string(),
            self.state.as_str().to_owned(),
            power(self),
            known(self.status.address.as_ref()),
            names.network(&self.spec.network),
            names.image(&self.spec.image),
            self.spec.vcpus.to_string(),
            memory(self),
            if self.status.guest.is_some() { "up".to_owned() } else { String::new() },
        ]
    }

    fn highlights(&self, names: &Names) -> Facts {
        vec![("address", known(self.status.address.as_ref())), ("network", names.network(&self.spec.network))]
    }

    fn particulars(&self, names: &Names) -> Facts {
        let keys: Vec<String> = self.spec.ssh_keys.iter().map(ToString::to_string).collect();
        vec![
            ("image", names.image(&self.spec.image)),
            ("power", power(self)),
            ("cpus", self.spec.vcpus.to_string()),
            ("memory", memory(self)),
            ("disk", self.spec.disk_bytes.map(|size| show_bytes(size.get())).unwrap_or_default()),
            ("mac", known(self.status.mac.as_ref())),
            ("hypervisor", known(self.status.hypervisor.as_ref())),
            ("runs under", known(self.status.accelerator.as_ref())),
            ("guest", self.status.guest.as_ref().map(guest).unwrap_or_default()),
            ("host key", known(self.status.host_key.as_ref())),
            ("ssh keys", keys.join("\n")),
        ]
    }

    fn loss(&self) -> String {
        match self.status.address {
            Some(address) => format!("with its disk; address {address} becomes free"),
            None => "with its disk".to_owned(),
        }
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }
}

fn memory(instance: &Instance) -> String {
    show_bytes(u64::from(instance.spec.memory_mib.get()) << 20)
}

/// What the machine does, and what it should do where that differs.
fn power(instance: &Instance) -> String {
    let wanted = match instance.spec.power {
        Power::Running => "running",
        Power::Stopped => "stopped",
    };
    let seen = match instance.status.power {
        None => return format!("to be {wanted}"),
        Some(PowerState::Running) => "running",
        Some(PowerState::Stopped) => "stopped",
        Some(PowerState::Failed) => "failed",
    };
    if seen == wanted { seen.to_owned() } else { format!("{seen}, to be {wanted}") }
}

fn guest(guest: &Guest) -> String {
    let address = guest.address.map(|address| format!(" at {address}")).unwrap_or_default();
    let uptime = guest.uptime_seconds.map(|seconds| format!(", up after {seconds}s")).unwrap_or_default();
    format!("{}{address}{uptime}", guest.hostname)
}
