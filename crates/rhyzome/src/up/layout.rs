//! Where things lie in the data directory.

use std::path::{Path, PathBuf};

/// The paths of one installation.
#[derive(Clone, Debug)]
pub struct Layout {
    data: PathBuf,
}

impl Layout {
    /// The layout of a data directory, given by its full path.
    pub fn new(data: PathBuf) -> Self {
        Self { data }
    }

    /// The data directory itself.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What `rhyzome up` started, for `rhyzome down`.
    pub fn state(&self) -> PathBuf {
        self.data.join("up.json")
    }

    /// Held by the `rhyzome up` of this directory.
    pub fn lock(&self) -> PathBuf {
        self.data.join("up.lock")
    }

    /// The folder of all logs.
    pub fn logs(&self) -> PathBuf {
        self.data.join("logs")
    }

    /// The log of a program.
    pub fn log(&self, program: &str) -> PathBuf {
        self.logs().join(format!("{program}.log"))
    }

    /// The certificate authority.
    pub fn authority(&self) -> PathBuf {
        self.data.join("ca")
    }

    /// The authority's certificate.
    pub fn authority_certificate(&self) -> PathBuf {
        self.authority().join("ca.pem")
    }

    /// A certificate that the authority signed for a server of ours.
    pub fn certificate(&self, server: &str) -> PathBuf {
        self.data.join("tls").join(format!("{server}.pem"))
    }

    /// The key of that certificate.
    pub fn key(&self, server: &str) -> PathBuf {
        self.data.join("tls").join(format!("{server}.key"))
    }

    /// What a program is told; also rhyzomectl's.
    pub fn configuration(&self, program: &str) -> PathBuf {
        self.data.join(format!("{program}.json"))
    }

    /// A file with a secret: a token, an invitation, a password.
    pub fn secret(&self, name: &str) -> PathBuf {
        self.data.join("secrets").join(name)
    }

    /// Where a simulation takes orders.
    pub fn control(&self) -> PathBuf {
        self.data.join("sim.sock")
    }

    /// What a program keeps.
    pub fn folder(&self, program: &str) -> PathBuf {
        self.data.join(program)
    }
}
