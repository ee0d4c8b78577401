//! The connection to libvirt. Its calls block, so each runs on a thread for blocking calls, with a deadline.

use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;
use virt::connect::Connect;
use virt::error::Error;

/// Longest time for one call unless said otherwise; starting a machine on a busy host is the longest.
const DEADLINE: Duration = Duration::from_secs(120);

/// Why a call of libvirt failed.
#[derive(Debug, thiserror::Error)]
pub enum LibvirtError {
    /// There is no libvirt at the URI.
    #[error("cannot reach libvirt at {uri}: {}", .error.message())]
    Unreachable {
        /// Where it should be.
        uri: String,
        /// What libvirt's library says.
        error: Error,
    },
    /// libvirt refused.
    #[error("libvirt could not {action}: {}", .error.message())]
    Call {
        /// What was tried, as in "start the machine".
        action: &'static str,
        /// What libvirt says.
        error: Error,
    },
    /// libvirt did not answer.
    #[error("libvirt did not {action} within {} s", .deadline.as_secs())]
    Silent {
        /// What was tried.
        action: &'static str,
        /// How long it was waited for.
        deadline: Duration,
    },
}

/// A connection that is made when it is needed, and again after libvirt was restarted.
#[derive(Clone)]
pub struct Libvirt {
    uri: Arc<str>,
    connection: Arc<Mutex<Option<Connect>>>,
    deadline: Duration,
}

impl Libvirt {
    /// Names the libvirt to use; nothing is connected yet.
    pub fn at(uri: &str) -> Self {
        // Without this the library also prints every error to stderr.
        static QUIET: Once = Once::new();
        QUIET.call_once(virt::error::clear_error_callback);
        Self { uri: uri.into(), connection: Arc::default(), deadline: DEADLINE }
    }

    /// The same with another deadline for every call.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Runs `work`, which is called again when it turns out that the connection was lost.
    pub async fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl Fn(&Connect) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, LibvirtError> {
        let this = self.clone();
        match timeout(self.deadline, spawn_blocking(move || this.call_blocking(action, work))).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {
                self.forget();
                Err(LibvirtError::Silent { action, deadline: self.deadline })
            }
        }
    }

    fn call_blocking<T>(
        &self,
        action: &'static str,
        work: impl Fn(&Connect) -> Result<T, Error>,
    ) -> Result<T, LibvirtError> {
        let (connection, fresh) = self.connect()?;
        let error = match work(&connection) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if fresh || connection.is_alive() == Ok(true) {
            return Err(LibvirtError::Call { action, error });
        }
        self.forget();
        let (connection, _) = self.connect()?;
        work(&connection).map_err(|error| LibvirtError::Call { action, error })
    }

    /// The connection, and whether it was made just now.
    fn connect(&self) -> Result<(Connect, bool), LibvirtError> {
        if let Some(connection) = &*self.lock() {
            return Ok((connection.clone(), false));
        }
        let connection = Connect::open(Some(&self.uri))
            .map_err(|error| LibvirtError::Unreachable { uri: self.uri.to_string(), error })?;
        *self.lock() = Some(connection.clone());
        Ok((connection, true))
    }

    fn forget(&self) {
        self.lock().take();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Connect>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_reach_libvirt_and_errors_name_what_was_tried() {
        let libvirt = Libvirt::at("test:///default");
        let names = libvirt.call("list machines", |connection| {
            connection.list_all_domains(0)?.iter().map(virt::domain::Domain::name).collect::<Result<Vec<_>, _>>()
        });
        assert_eq!(names.await.unwrap(), ["test"]);
        let missing = libvirt.call("find the machine", |connection| connection.lookup_domain_by_name("none"));
        let error = missing.await.err().unwrap().to_string();
        assert!(error.starts_with("libvirt could not find the machine: "), "{error}");
    }

    #[tokio::test]
    async fn a_libvirt_that_is_not_there_is_named() {
        let uri = "qemu+unix:///system?socket=/nowhere/libvirt-sock";
        let error = Libvirt::at(uri).call("list machines", |connection| connection.list_all_domains(0)).await;
        let text = error.err().unwrap().to_string();
        assert!(text.starts_with(&format!("cannot reach libvirt at {uri}: ")), "{text}");
    }
}
