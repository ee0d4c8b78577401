//! Another machine, by the SSH client of this one: it asks for passwords and knows hosts' keys itself.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::seat::random;

/// A machine; all commands go over one connection, so that a password is asked for once.
pub struct Host {
    target: String,
    options: Vec<String>,
    folder: PathBuf,
}

impl Host {
    /// A machine as `ssh` takes it, with options as they stand behind its `-o`.
    ///
    /// # Errors
    /// When the name could be taken for an option, or there is no room for the connection's socket.
    pub fn new(target: &str, options: &[String]) -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        if target.is_empty() || target.starts_with('-') {
            bail!("{target:?} is no machine: expected USER@HOST");
        }
        let mut name = [0; 6];
        random(&mut name);
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = std::env::temp_dir().join(format!("dusk-ssh-{name}"));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        made.with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { target: target.to_owned(), options: options.to_vec(), folder })
    }

    /// Runs a line of shell there that is given this, and gives what it prints.
    ///
    /// # Errors
    /// When ssh cannot be run, does not get there, or the line fails.
    pub fn run(&self, line: &str, input: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut child = self
            .ssh(&["ControlMaster=auto".to_owned(), "ControlPersist=60".to_owned()])
            .args(["--", &self.target, line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run ssh: is OpenSSH's client installed?")?;
        let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input));
        let output = child.wait_with_output()?;
        match (output.status.code(), written) {
            (Some(0), written) => written.context("the machine did not take all of it").map(|()| output.stdout),
            (Some(255), _) => bail!("ssh does not get to {}", self.target),
            _ => bail!("{}: {line} failed", self.target),
        }
    }

    fn ssh(&self, more: &[String]) -> Command {
        let mut command = Command::new("ssh");
        let path = format!("ControlPath={}", self.folder.join("socket").display());
        for option in self.options.iter().chain(more).chain([&path]) {
            command.args(["-o", option]);
        }
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let _ = quiet(self.ssh(&[]).args(["-O", "exit", "--", &self.target]));
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A text as one word of a shell's line.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
