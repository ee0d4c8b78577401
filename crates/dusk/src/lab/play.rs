//! What the lab does with its machines, by the commands that people type, which it shows.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use fleet::RecoveryPhrase;

use super::machine::Machine;
use super::until;
use crate::founding::{self, Founding};
use crate::seat::random;
use crate::store::Store;

/// Whose fleet it is.
const USER: &str = "ada";
/// Her password.
const PASSWORD: &str = "correct horse";
/// The group that all but the master and the backup are in.
const GROUP: &str = "ap";

/// A lab's machines, the master first.
pub struct Play<'a> {
    machines: &'a mut [Machine],
}

impl<'a> Play<'a> {
    /// Plays on these.
    pub fn on(machines: &'a mut [Machine]) -> Self {
        Self { machines }
    }

    /// Founds the fleet, lets everybody join, and makes the second machine the backup.
    pub fn found_and_join(&mut self) -> anyhow::Result<()> {
        let master = self.machines.first_mut().context("invariant: a lab has machines")?;
        let address = format!("{}:4747", master.address());
        eprintln!("$ dusk init --user {USER} --address {address}");
        let store = Store::open(&master.dusk_dir())?;
        let founding = Founding {
            name: "lab",
            user: USER.parse()?,
            device: master.name.parse()?,
            password: PASSWORD,
            phrase: &RecoveryPhrase::generate(&mut random),
            address: Some(&address),
        };
        founding::found(&store, founding)?;
        drop(store);
        master.run_node()?;
        let others = (self.machines.len() - 1).to_string();
        let key = self.dusk(0, &["invite", "--group", GROUP, "--uses", &others])?;
        for number in 1..self.machines.len() {
            let name = self.machines[number].name.clone();
            self.dusk(number, &["join", key.trim(), "--name", &name])?;
            self.machines[number].run_node()?;
        }
        for number in 1..self.machines.len() {
            let name = self.machines[number].name.clone();
            let mut id = None;
            until(&format!("{name} asks to join"), || {
                let listed = self.ask(0, &["device", "list", "--output", "json"])?;
                let listed: serde_json::Value = serde_json::from_str(&listed)?;
                let mut devices = listed.as_array().into_iter().flatten();
                let waiting = devices.find(|device| device["name"] == *name && device["state"] == "waiting");
                id = waiting.and_then(|device| device["id"].as_str().map(str::to_owned));
                Ok(id.is_some())
            })?;
            let id = id.context("invariant: somebody waits")?;
            self.dusk(0, &["device", "approve", &id, "--secrets"])?;
        }
        let backup = &self.machines[1];
        let (name, address) = (backup.name.clone(), format!("{}:4747", backup.address()));
        self.dusk(0, &["device", "role", &name, "backup", "--address", &address]).map(drop)
    }

    /// Runs a command on a machine, and shows it.
    fn dusk(&self, number: usize, line: &[&str]) -> anyhow::Result<String> {
        let machine = &self.machines[number];
        // A join key is long, and says nothing.
        let shown: Vec<&str> = line.iter().map(|word| if word.len() > 60 { "KEY" } else { word }).collect();
        eprintln!("{}$ dusk {}", machine.name, shown.join(" "));
        let said = self.ask(number, line)?;
        said.lines().filter(|line| line.len() <= 120).for_each(|line| eprintln!("{line}"));
        Ok(said)
    }

    fn ask(&self, number: usize, line: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(line).arg("--dir").arg(self.machines[number].dusk_dir()).env_remove("DUSK_USER");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run dusk")?;
        // A command that asks for no password does not read it.
        let _ = child.stdin.take().map(|mut stdin| writeln!(stdin, "{PASSWORD}"));
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("dusk {}: {}", line.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
