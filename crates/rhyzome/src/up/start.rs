//! The order in which everything comes up.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use pki::{Alpn, Authority, Roots};
use time::OffsetDateTime;

use super::configuration::Libvirt;
use super::layout::Layout;
use super::program::{Program, executable};
use super::settings::Settings;
use super::state::StateFile;
use super::supervisor::Supervisor;
use super::{certificate, configuration, machine, readiness, simulation};

/// The switch that lets packets pass between interfaces; the router's link needs it.
const IP_FORWARD: &str = "net/ipv4/ip_forward";

/// Where the system's libvirtd listens.
const SYSTEM_LIBVIRT: &str = "/run/libvirt/libvirt-sock";

/// Brings everything up; what was started stays with the supervisor, also when a later step fails.
pub async fn start(layout: &Layout, state: &StateFile, supervisor: &mut Supervisor) -> Result<()> {
    pki::install_provider();
    let settings = state.snapshot().settings;
    let mut clock = Clock::start();

    certificates(layout, &settings)?;
    if settings.simulate.is_none() {
        remember_switch(state, IP_FORWARD)?;
    }
    clock.done("certificates are in date");

    let core = configuration::write(layout, "rhyzome", &configuration::core(layout, &settings))?;
    supervisor.keep(program(layout, "rhyzome", &["serve", "--config", text(&core)?])?)?;
    supervisor.until_ready("rhyzome", readiness::core(layout, settings.http)).await?;
    clock.done(&format!("the core answers at https://{}", settings.http));

    let client = sign_in(layout, &core, &settings)?;
    if let Some(simulation) = &settings.simulate {
        return simulation::start(layout, simulation, text(&core)?, &client, supervisor, &mut clock).await;
    }

    make_password(&layout.secret("router-password"))?;
    let router = configuration::write(layout, "rhyzome-router", &configuration::router(layout, &settings))?;
    supervisor.keep(program(layout, "rhyzome-router", &["serve", "--config", text(&router)?])?)?;
    supervisor.until_ready("rhyzome-router", readiness::router(layout, settings.router.listen)).await?;
    clock.done(&format!("the router answers in namespace {}", settings.router.namespace));

    invite(layout, &core, "rhyzome-openwrt", "router")?;
    let openwrt = configuration::write(layout, "rhyzome-openwrt", &configuration::openwrt(layout, &settings))?;
    supervisor.keep(program(layout, "rhyzome-openwrt", &["--config", text(&openwrt)?])?)?;

    let libvirt = libvirt(layout, supervisor).await?;
    clock.done(match libvirt {
        Libvirt::System => "the system's libvirt answers",
        Libvirt::Own { .. } => "a libvirt of our own answers",
    });
    invite(layout, &core, "rhyzome-libvirt", "hypervisor")?;
    let hypervisor = configuration::libvirt(layout, &settings, &libvirt);
    let hypervisor = configuration::write(layout, "rhyzome-libvirt", &hypervisor)?;
    supervisor.keep(program(layout, "rhyzome-libvirt", &["--config", text(&hypervisor)?])?)?;

    for (target, program) in [("router", "rhyzome-openwrt"), ("hypervisor", "rhyzome-libvirt")] {
        supervisor.until_ready(program, readiness::agent(&client, target, program)).await?;
    }
    clock.done("the agents are connected");
    Ok(())
}

/// The system's libvirt where one answers, or else one of our own.
async fn libvirt(layout: &Layout, supervisor: &mut Supervisor) -> Result<Libvirt> {
    if UnixStream::connect(SYSTEM_LIBVIRT).is_ok() {
        return Ok(Libvirt::System);
    }
    let folder = layout.folder("libvirt");
    let socket = folder.join("run/libvirt-sock");
    let arguments = ["libvirtd", "--dir", text(&folder)?];
    let log = layout.log("libvirtd");
    supervisor.keep(Program { name: "libvirtd", log, ..program(layout, "rhyzome-libvirt", &arguments)? })?;
    supervisor.until_ready("libvirtd", readiness::libvirtd(&socket)).await?;
    Ok(Libvirt::Own { socket })
}

fn certificates(layout: &Layout, settings: &Settings) -> Result<()> {
    let now = OffsetDateTime::now_utc();
    let authority = Authority::load_or_init(&layout.authority(), now)?;
    for (server, address) in [("core", settings.http.ip()), ("router", settings.router.listen.ip())] {
        let names = [address.to_string(), "localhost".to_owned()];
        certificate::ensure(&authority, &names, &layout.certificate(server), &layout.key(server), now)?;
    }
    Ok(())
}

/// Makes a token where there is none, writes what `rhyzomectl` needs, and signs in with it.
fn sign_in(layout: &Layout, core: &Path, settings: &Settings) -> Result<api::Client> {
    let token = layout.secret("token");
    if !token.exists() {
        let made = ["admin", "token", "create", "--config", text(core)?, "--tenant", "local", "--name", "up"];
        admin(&[&made[..], &["--scope", "*:*", "--output", text(&token)?]].concat())?;
    }
    configuration::write(layout, "rhyzomectl", &configuration::rhyzomectl(layout, settings))?;
    let roots = Roots::from_pem(&config::file::read(&layout.authority_certificate())?)?;
    let tls = pki::client_config(&roots, None, Alpn::Http1)?;
    Ok(api::Client::new(&format!("https://{}", settings.http), config::file::read_secret(&token)?, tls)?)
}

/// Sees to it that an agent can enrol, unless it has: an invitation is good for one day, so it gets a fresh one.
fn invite(layout: &Layout, core: &Path, program: &str, kind: &str) -> Result<()> {
    if layout.folder(program).join("tls/cert.pem").exists() {
        return Ok(());
    }
    let invitation = layout.secret(&format!("{program}.invitation"));
    let target = ["--kind", kind, "--name", kind, "--output", text(&invitation)?];
    admin(&[&["admin", "agent", "invite", "--config", text(core)?][..], &target].concat())
}

/// Makes a password where there is none.
fn make_password(file: &Path) -> Result<()> {
    if file.exists() {
        return Ok(());
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("no randomness")?;
    let password = types::SecretText::new(data_encoding::HEXLOWER.encode(&bytes));
    Ok(config::file::write_private(file, password.reveal().as_bytes())?)
}

/// Runs a subcommand of this program.
pub(super) fn admin(arguments: &[&str]) -> Result<()> {
    let own = std::env::current_exe()?;
    machine::run(text(&own)?, arguments)?;
    Ok(())
}

pub(super) fn program(layout: &Layout, name: &'static str, arguments: &[&str]) -> Result<Program> {
    Ok(Program {
        name,
        executable: executable(name)?,
        arguments: arguments.iter().map(ToString::to_string).collect(),
        log: layout.log(name),
    })
}

/// Writes down how a switch stands, once, so that `down` can put it back.
fn remember_switch(state: &StateFile, path: &str) -> Result<()> {
    let current = config::file::read(&Path::new("/proc/sys").join(path))?;
    state.change(|state| {
        state.switches.entry(path.to_owned()).or_insert_with(|| current.trim().to_owned());
    })
}

pub(super) fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not text in UTF-8", path.display()))
}

/// Tells what is done, and how long it took.
pub(super) struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn done(&mut self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.0.elapsed().as_secs_f64());
    }
}
