//! `rhyzome up --simulate`: the core with simulated routers and hypervisors, for people who try the API.
//!
//! Nothing outside of the data directory is touched, so that it needs neither root nor libvirt nor a network.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::layout::Layout;
use super::readiness;
use super::start::{Clock, admin, program, text};
use super::supervisor::Supervisor;

/// The program that simulates.
const PROGRAM: &str = "rhyzome-sim";
/// The image that is there from the start; no machine can boot it, and none has to.
const IMAGE: &str = "tiny";
/// The size of its disk.
const IMAGE_SIZE: u64 = 64 << 20;

/// What is simulated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Simulation {
    /// How many hypervisors.
    pub hypervisors: u32,
    /// How many routers.
    pub routers: u32,
    /// What goes wrong with them when; see `rhyzome-sim`.
    pub scenario: Option<PathBuf>,
}

impl Default for Simulation {
    fn default() -> Self {
        Self { hypervisors: 3, routers: 1, scenario: None }
    }
}

/// Where a simulated installation is kept that was not told: with its owner's other programs' state.
pub fn default_data_dir() -> Result<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let parent = state.or(home).context("there is no home directory: say --data-dir")?;
    Ok(parent.join("rhyzome-simulated"))
}

/// Refuses a directory that holds the other sort of installation.
pub fn check_sort(layout: &Layout, simulated: bool) -> Result<()> {
    let (real, simulation) = (layout.folder("rhyzome-router").exists(), layout.folder(PROGRAM).exists());
    match simulated {
        true if real => {
            bail!("{} holds an installation that is not simulated: say another --data-dir", layout.data().display())
        }
        false if simulation => {
            bail!("{} holds a simulated installation: say --simulate, or another --data-dir", layout.data().display())
        }
        _ => Ok(()),
    }
}

/// Starts the simulation beside a core that answers.
pub async fn start(
    layout: &Layout,
    simulation: &Simulation,
    core: &str,
    client: &api::Client,
    supervisor: &mut Supervisor,
    clock: &mut Clock,
) -> Result<()> {
    let (state, bundle) = (layout.folder(PROGRAM), layout.secret("simulated.invitations"));
    let (hypervisors, routers) = (simulation.hypervisors.to_string(), simulation.routers.to_string());
    // The members that enrolled before have certificates and need no fresh invitation; it does them no harm.
    admin(&[
        "admin",
        "agent",
        "bundle",
        "--config",
        core,
        "--hypervisors",
        &hypervisors,
        "--routers",
        &routers,
        "--output",
        text(&bundle)?,
    ])?;
    let control = layout.control();
    let mut arguments =
        vec!["serve", "--invitations", text(&bundle)?, "--state-dir", text(&state)?, "--control", text(&control)?];
    if let Some(scenario) = &simulation.scenario {
        arguments.extend(["--scenario", text(scenario)?]);
    }
    supervisor.keep(program(layout, PROGRAM, &arguments)?)?;
    let members = simulation.hypervisors as usize + simulation.routers as usize;
    supervisor.until_ready(PROGRAM, readiness::agents(client, members, PROGRAM)).await?;
    clock.done(&format!("{hypervisors} simulated hypervisors and {routers} routers are connected"));
    ensure_image(client).await?;
    Ok(())
}

/// Says what can be tried.
pub fn invite_to_try(layout: &Layout) {
    let config = layout.configuration("rhyzomectl");
    eprintln!(
        "\nNothing is real here but the API. Try:\n  \
           alias rz='rhyzomectl --config {}'\n  \
           rz network create lab\n  \
           rz instance create hello --network lab --image {IMAGE}\n  \
           rz instance list\n  \
           rhyzome-sim tell --control {} '{{\"targets\": \"hypervisor-*\", \"do\": {{\"faults\": {{\"delay_ms\": 3000}}}}}}'\n",
        config.display(),
        layout.control().display(),
    );
}

/// Imports an image that instances can name.
async fn ensure_image(client: &api::Client) -> Result<()> {
    let known = client.list::<api::Image>().await?;
    let known = known.iter().find(|image| image.name.as_str() == IMAGE);
    let file = empty_qcow2();
    let image = match known {
        Some(image) if image.status.virtual_size.is_some() => return Ok(()),
        Some(image) => image.id,
        None => {
            let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&file));
            let asked = serde_json::json!({ "name": IMAGE, "spec": { "sha256": sha256 } });
            client.create::<api::Image>(&serde_json::from_value(asked)?).await?.resource.id
        }
    };
    let length = file.len() as u64;
    client.upload(image, length, tokio_stream::iter([Ok(file)])).await?;
    Ok(())
}

/// The smallest file that passes for an image: the header of qcow2's version 2 (docs/interop/qcow2.rst of QEMU).
fn empty_qcow2() -> Vec<u8> {
    const CLUSTER_BITS: u32 = 16;
    let mut header = vec![0; 512];
    header[..4].copy_from_slice(b"QFI\xfb");
    header[4..8].copy_from_slice(&2_u32.to_be_bytes());
    header[20..24].copy_from_slice(&CLUSTER_BITS.to_be_bytes());
    header[24..32].copy_from_slice(&IMAGE_SIZE.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placeholder_passes_for_an_image() {
        assert_eq!(qcow2::Header::read(&empty_qcow2()).unwrap().virtual_size, IMAGE_SIZE);
    }

    #[test]
    fn the_sorts_of_installation_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().to_owned());
        check_sort(&layout, true).unwrap();
        check_sort(&layout, false).unwrap();
        std::fs::create_dir(layout.folder(PROGRAM)).unwrap();
        check_sort(&layout, true).unwrap();
        assert!(check_sort(&layout, false).unwrap_err().to_string().contains("--simulate"));
        std::fs::create_dir(layout.folder("rhyzome-router")).unwrap();
        assert!(check_sort(&layout, true).unwrap_err().to_string().contains("not simulated"));
    }
}
