//! What libvirt does for an instance: define, start, stop, remove, and say how it fares.

use std::time::Duration;

use jobs::observed::{Accelerator, PowerState};
use tokio::time::{Instant, sleep};
use types::{InstanceId, Version};
use virt::connect::Connect;
use virt::domain::{
    Domain, DomainPausedReason, DomainShutoffReason, DomainShutoffReasonEnum, DomainState, DomainStateEnum,
    DomainStateReason,
};
use virt::enumutil::Enum;
use virt::error::{Error, ErrorNumber, ErrorNumberEnum};
use virt::sys;

use super::domain::{ARCHITECTURE, MACHINE, METADATA_PREFIX, METADATA_URI, metadata, read_metadata};
use crate::libvirt::{Libvirt, LibvirtError};
use crate::mark::Mark;

/// How often a machine that shuts down is looked at.
const GLANCE: Duration = Duration::from_millis(200);
/// How often the power button is pressed again: a guest that is still starting does not hear it.
const PRESS_AGAIN: Duration = Duration::from_secs(5);

/// The machines of one libvirt.
#[derive(Clone)]
pub struct Machines {
    libvirt: Libvirt,
}

/// A machine as libvirt has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Whose it is, by its name.
    pub id: InstanceId,
    /// libvirt's number of this run of it; none when it is off.
    pub run: Option<u32>,
    /// What it does.
    pub power: PowerState,
    /// Whether its start has not ended. What a libvirt that died over it had started, the next one ends.
    pub starting: bool,
}

impl Machines {
    /// The machines of `libvirt`.
    pub fn of(libvirt: Libvirt) -> Self {
        Self { libvirt }
    }

    /// Lets libvirt ask QEMU what it can do, which takes seconds and else holds up the first machine.
    pub async fn warm_up(&self) -> Result<(), LibvirtError> {
        self.libvirt
            .call("ask what QEMU can do", |connection| {
                connection.domain_capabilities(None, Some(ARCHITECTURE), Some(MACHINE), None, 0).map(drop)
            })
            .await
    }

    /// All machines that have the name of an instance.
    pub async fn list(&self) -> Result<Vec<Machine>, LibvirtError> {
        self.libvirt
            .call("list the machines", |connection| {
                let domains = connection.list_all_domains(0)?;
                // One that is removed at this moment has no state any more.
                Ok(domains.iter().filter_map(|domain| machine(domain).ok().flatten()).collect())
            })
            .await
    }

    /// The machine of an instance.
    pub async fn find(&self, id: InstanceId) -> Result<Option<Machine>, LibvirtError> {
        let found = self.libvirt.call("find the machine", move |connection| {
            Ok(find(connection, id)?.as_ref().map(machine).transpose()?.flatten())
        });
        found.await
    }

    /// The desired states that the machines which bear our mark were brought to.
    pub async fn marks(&self) -> Result<Vec<(InstanceId, Version)>, LibvirtError> {
        self.libvirt
            .call("list the machines", |connection| {
                let domains = connection.list_all_domains(0)?;
                domains.iter().filter_map(|domain| mark(domain).transpose()).collect()
            })
            .await
    }

    /// The desired state that a machine was brought to; [`Mark::UNFINISHED`] without a machine.
    pub async fn version(&self, id: InstanceId) -> Result<Version, LibvirtError> {
        let found = self.libvirt.call("read the machine's mark", move |connection| {
            Ok(find(connection, id)?.as_ref().map(mark).transpose()?.flatten())
        });
        Ok(found.await?.map_or(Mark::UNFINISHED, |(_, version)| version))
    }

    /// Writes down which desired state a machine was brought to.
    pub async fn set_version(&self, id: InstanceId, version: Version) -> Result<(), LibvirtError> {
        self.libvirt
            .call("mark the machine", move |connection| {
                connection.lookup_domain_by_name(&id.to_string())?.set_metadata(
                    sys::VIR_DOMAIN_METADATA_ELEMENT as i32,
                    Some(&metadata(id, version)),
                    Some(METADATA_PREFIX),
                    Some(METADATA_URI),
                    sys::VIR_DOMAIN_AFFECT_CONFIG,
                )
            })
            .await
    }

    /// Defines a machine, or defines it anew for its next start.
    pub async fn define(&self, definition: String) -> Result<(), LibvirtError> {
        self.libvirt
            .call("define the machine", move |connection| connection.define_domain_xml(&definition).map(drop))
            .await
    }

    /// Starts a machine unless it runs.
    pub async fn start(&self, id: InstanceId) -> Result<(), LibvirtError> {
        self.libvirt
            .call("start the machine", move |connection| {
                let domain = connection.lookup_domain_by_name(&id.to_string())?;
                if domain.is_active()? { Ok(()) } else { domain.create() }
            })
            .await
    }

    /// Presses the power button and waits; a machine that is not off after `grace` is switched off.
    pub async fn shut_down(&self, id: InstanceId, grace: Duration) -> Result<(), LibvirtError> {
        let end = Instant::now() + grace;
        let mut press = Instant::now();
        while self.is_running(id).await? {
            let now = Instant::now();
            if now >= end {
                tracing::warn!(instance = %id, "did not shut down in time and is switched off");
                return self.switch_off(id).await;
            }
            if now >= press {
                self.press_power_button(id).await?;
                press = now + PRESS_AGAIN;
            }
            sleep(GLANCE).await;
        }
        Ok(())
    }

    /// Ends a machine at once.
    pub async fn switch_off(&self, id: InstanceId) -> Result<(), LibvirtError> {
        self.libvirt
            .call("switch the machine off", move |connection| match find(connection, id)? {
                Some(domain) => running_only(domain.destroy()),
                None => Ok(()),
            })
            .await
    }

    /// Ends a machine and forgets its definition.
    pub async fn remove(&self, id: InstanceId) -> Result<(), LibvirtError> {
        self.switch_off(id).await?;
        self.libvirt
            .call("remove the machine", move |connection| match find(connection, id)? {
                Some(domain) => domain.undefine_flags(
                    sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                        | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                        | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
                        | sys::VIR_DOMAIN_UNDEFINE_NVRAM,
                ),
                None => Ok(()),
            })
            .await
    }

    /// How a machine that runs is run.
    pub async fn accelerator(&self, id: InstanceId) -> Result<Option<Accelerator>, LibvirtError> {
        let definition = self.libvirt.call("read the machine's definition", move |connection| {
            find(connection, id)?.map(|domain| domain.xml_desc(0)).transpose()
        });
        Ok(definition.await?.as_deref().and_then(read_accelerator))
    }

    async fn is_running(&self, id: InstanceId) -> Result<bool, LibvirtError> {
        Ok(self.find(id).await?.is_some_and(|machine| machine.run.is_some()))
    }

    async fn press_power_button(&self, id: InstanceId) -> Result<(), LibvirtError> {
        self.libvirt
            .call("shut the machine down", move |connection| match find(connection, id)? {
                Some(domain) => running_only(domain.shutdown()),
                None => Ok(()),
            })
            .await
    }
}

fn find(connection: &Connect, id: InstanceId) -> Result<Option<Domain>, Error> {
    found(connection.lookup_domain_by_name(&id.to_string()), ErrorNumber::NoDomain)
}

fn found<T>(result: Result<T, Error>, missing: ErrorNumber) -> Result<Option<T>, Error> {
    match result {
        Err(error) if error.code() == ErrorNumberEnum::Known(missing) => Ok(None),
        other => other.map(Some),
    }
}

/// A machine that went off by itself in between is what was wanted.
fn running_only(result: Result<(), Error>) -> Result<(), Error> {
    found(result, ErrorNumber::OperationInvalid).map(drop)
}

fn machine(domain: &Domain) -> Result<Option<Machine>, Error> {
    let Ok(id) = domain.name()?.parse() else { return Ok(None) };
    let (state, reason) = domain.state()?;
    let starting = is_starting(state, reason);
    Ok(Some(Machine { id, run: domain.id(), power: power(state, reason), starting }))
}

fn mark(domain: &Domain) -> Result<Option<(InstanceId, Version)>, Error> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;
    let element = domain.metadata(kind, Some(METADATA_URI), sys::VIR_DOMAIN_AFFECT_CONFIG);
    match found(element, ErrorNumber::NoDomainMetadata) {
        Err(error) if error.code() == ErrorNumberEnum::Known(ErrorNumber::NoDomain) => Ok(None),
        other => Ok(other?.as_deref().and_then(read_metadata)),
    }
}

fn is_starting(state: DomainStateEnum, reason: Enum<DomainStateReason, i32>) -> bool {
    let starting_up = Enum::Known(DomainStateReason::Paused(Enum::Known(DomainPausedReason::StartingUp)));
    state == Enum::Known(DomainState::Paused) && reason == starting_up
}

fn power(state: DomainStateEnum, reason: Enum<DomainStateReason, i32>) -> PowerState {
    const CRASHED: DomainShutoffReasonEnum = Enum::Known(DomainShutoffReason::Crashed);
    const FAILED: DomainShutoffReasonEnum = Enum::Known(DomainShutoffReason::Failed);
    match (state, reason) {
        (Enum::Known(DomainState::Crashed), _) => PowerState::Failed,
        (Enum::Known(DomainState::Shutoff), Enum::Known(DomainStateReason::Shutoff(CRASHED | FAILED))) => {
            PowerState::Failed
        }
        (Enum::Known(DomainState::Shutoff), _) => PowerState::Stopped,
        _ => PowerState::Running,
    }
}

/// libvirt begins a definition with `<domain type='kvm' …`.
fn read_accelerator(definition: &str) -> Option<Accelerator> {
    let kind = definition.trim_start().strip_prefix("<domain type=")?.get(1..)?;
    match kind.split(['\'', '"']).next()? {
        "kvm" => Some(Accelerator::Kvm),
        "qemu" => Some(Accelerator::Tcg),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accelerator_is_read_from_the_definition() {
        assert_eq!(read_accelerator("<domain type='kvm' id='3'>"), Some(Accelerator::Kvm));
        assert_eq!(read_accelerator("<domain type=\"qemu\">"), Some(Accelerator::Tcg));
        assert_eq!(read_accelerator("<domain type='test'>"), None);
        assert_eq!(read_accelerator(""), None);
    }

    #[test]
    fn a_machine_whose_process_died_has_failed() {
        let shutoff = |reason| {
            power(Enum::Known(DomainState::Shutoff), Enum::Known(DomainStateReason::Shutoff(Enum::Known(reason))))
        };
        assert_eq!(shutoff(DomainShutoffReason::Shutdown), PowerState::Stopped);
        assert_eq!(shutoff(DomainShutoffReason::Destroyed), PowerState::Stopped);
        assert_eq!(shutoff(DomainShutoffReason::Crashed), PowerState::Failed);
    }

    #[test]
    fn a_machine_that_is_starting_does_not_run_yet() {
        let paused = |reason| {
            is_starting(Enum::Known(DomainState::Paused), Enum::Known(DomainStateReason::Paused(Enum::Known(reason))))
        };
        assert!(paused(DomainPausedReason::StartingUp));
        assert!(!paused(DomainPausedReason::User));
    }

    #[tokio::test]
    async fn a_machine_that_is_not_there_is_none_and_is_easily_removed() {
        let machines = Machines::of(Libvirt::at("test:///default"));
        let id = InstanceId::from_bits(1);
        assert_eq!(machines.find(id).await.unwrap(), None);
        assert_eq!(machines.list().await.unwrap(), []);
        assert_eq!(machines.version(id).await.unwrap(), Mark::UNFINISHED);
        machines.remove(id).await.unwrap();
        machines.shut_down(id, Duration::ZERO).await.unwrap();
    }
}
