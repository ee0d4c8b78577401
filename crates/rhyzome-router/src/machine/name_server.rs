//! The dnsmasq processes: one for each instance that the config asks for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use super::replace_if_other;
use crate::dnsmasq::Instance;
use crate::json::{Json, Members, object};
use crate::process::{Advice, Process, Respawn};

/// All instances, by the names of their sections.
pub struct NameServers {
    /// The folder of configuration and pid files.
    configs: PathBuf,
    /// The folder of hosts files.
    hosts: PathBuf,
    servers: BTreeMap<String, NameServer>,
}

/// An instance and its process.
struct NameServer {
    instance: Instance,
    process: Option<Process>,
    respawn: Respawn,
}

impl NameServers {
    /// None, whose files will lie in `run`.
    #[must_use]
    pub fn new(run: &Path) -> Self {
        NameServers { configs: run.join("dnsmasq"), hosts: run.join("hosts"), servers: BTreeMap::new() }
    }

    /// The folder of hosts files.
    #[must_use]
    pub fn hosts(&self) -> &Path {
        &self.hosts
    }

    /// Ends what is not wanted or wanted otherwise, and starts what is not there.
    pub fn follow(&mut self, wanted: Vec<Instance>) {
        // All that end, end before any starts: one may take over the address of another.
        self.servers.retain(|_, server| wanted.contains(&server.instance));
        self.forget_files(&wanted);
        for instance in wanted {
            if !self.servers.contains_key(&instance.name) {
                let process = self.start(&instance);
                let server = NameServer { instance, process, respawn: Respawn::new(Instant::now()) };
                self.servers.insert(server.instance.name.clone(), server);
            }
        }
    }

    /// Starts again what has ended, as procd does it.
    pub fn look_after(&mut self) {
        let now = Instant::now();
        let mut ended = Vec::new();
        for server in self.servers.values_mut() {
            let runs = server.process.as_mut().is_some_and(Process::is_running);
            if !runs && server.respawn.advise(now) == Advice::Start {
                ended.push(server.instance.clone());
            }
        }
        for instance in ended {
            tracing::warn!(instance = instance.name, "dnsmasq has ended and is started again");
            let process = self.start(&instance);
            if let Some(server) = self.servers.get_mut(&instance.name) {
                server.process = process;
            }
        }
    }

    /// The instances, as procd's `service list` tells them.
    pub fn describe(&mut self) -> Members {
        let configs = &self.configs;
        let instances = self.servers.iter_mut().map(|(name, server)| {
            let state = match server.pid(&file(configs, name, "pid")) {
                Some(pid) => object([("running", true.into()), ("pid", pid.into())]),
                None => object([("running", false.into())]),
            };
            (name.clone(), state)
        });
        let instances = Json::Object(instances.collect());
        vec![("dnsmasq".to_owned(), object([("instances", instances)]))]
    }

    fn start(&self, instance: &Instance) -> Option<Process> {
        let config = file(&self.configs, &instance.name, "conf");
        let written = replace_if_other(&config, &instance.config)
            .and_then(|()| replace_if_other(&self.hosts.join(&instance.name), &instance.hosts));
        if let Err(error) = written {
            tracing::error!(instance = instance.name, %error, "cannot write the files of dnsmasq");
            return None;
        }
        let arguments = [
            "--keep-in-foreground".to_owned(),
            // As another user it would outlive the router: a change of user takes away what kills it.
            "--user=root".to_owned(),
            "--group=root".to_owned(),
            "--log-facility=-".to_owned(),
            format!("--conf-file={}", config.display()),
            format!("--pid-file={}", file(&self.configs, &instance.name, "pid").display()),
        ];
        let process = Process::start("dnsmasq", &arguments, Stdio::null());
        process.inspect_err(|error| tracing::error!(%error, "cannot run dnsmasq")).ok()
    }

    /// Removes the files of instances that nobody wants.
    fn forget_files(&self, wanted: &[Instance]) {
        for folder in [&self.configs, &self.hosts] {
            for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                let is_wanted = |instance: &Instance| path.file_stem().is_some_and(|stem| *stem == *instance.name);
                if !wanted.iter().any(is_wanted) {
                    // One that stays does no harm.
                    let _ = fs::remove_file(&path);
                }
            }
        }
    }
}

impl NameServer {
    /// The process id of one that serves: dnsmasq looks at its configuration, and then writes down its id.
    fn pid(&mut self, pid_file: &Path) -> Option<u32> {
        let process = self.process.as_mut()?;
        let written = fs::read_to_string(pid_file).ok()?;
        (process.is_running() && written.trim().parse() == Ok(process.id())).then(|| process.id())
    }
}

/// A file of an instance, whose name has no dot.
fn file(folder: &Path, instance: &str, extension: &str) -> PathBuf {
    folder.join(instance).with_extension(extension)
}
