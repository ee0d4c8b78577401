//! One user of the command, with a home directory of their own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::fake_server::FakeServer;

/// A user and what the command keeps for them.
pub struct User {
    home: TempDir,
}

/// What a run of the command came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl User {
    /// A user who is logged in to `server`.
    pub async fn of(server: &FakeServer) -> Self {
        let user = Self::new();
        let (ca, token) = (user.path("given-ca.pem"), user.path("given-token"));
        std::fs::write(&ca, server.ca()).unwrap();
        config::file::write_private(&token, FakeServer::TOKEN.as_bytes()).unwrap();
        let files = [ca.to_str().unwrap(), token.to_str().unwrap()];
        let login = user.run(&["login", "--url", &server.url(), "--ca", files[0], "--token-file", files[1]]).await;
        assert_eq!(login.code, 0, "{login:?}");
        user
    }

    /// A user whom no server knows.
    pub fn new() -> Self {
        Self { home: tempfile::Builder::new().prefix("ctl").tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A run that has not begun, in the user's home directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rhyzomectl"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("NO_COLOR", "1")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs the command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Outcome {
        let output = self.command(arguments).output().await.unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs it, which must work; gives what it printed.
    pub async fn done(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments).await;
        assert_eq!(outcome.code, 0, "{arguments:?}: {outcome:?}");
        outcome.stdout
    }
}

impl Outcome {
    /// All that a person sees, for a snapshot.
    pub fn seen(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}
