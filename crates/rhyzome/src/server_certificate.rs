//! The certificate that the core shows, and whom it believes: read again when the files change, and renewed in time
//! where our own CA made it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::{FileError, Tls};
use jobs::listener::AgentTls;
use pki::{Alpn, Authority, ClientAuth, Clock, KeyedCertificate, PkiError, Roots, SERVER_DAYS, ServerConfig};
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Looks between two tries to renew: an hour.
const LOOKS_PER_TRY: u32 = 720;

/// The core's certificate, for both servers.
pub struct ServerCertificate {
    tls: Tls,
    ours: Roots,
    clock: Clock,
    http: watch::Sender<Arc<ServerConfig>>,
    jobs: watch::Sender<Arc<AgentTls>>,
    /// What the files held when they were looked at last, good or bad.
    seen: Files,
    /// Why they could not be read in the last look, so that it is said once.
    unreadable: Option<String>,
    looks_to_next_try: u32,
}

/// What the files hold; a key by its digest alone.
#[derive(PartialEq, Eq)]
struct Files {
    ca: Option<String>,
    cert: String,
    key: types::Sha256Digest,
}

impl Files {
    fn read(tls: &Tls) -> Result<Self, FileError> {
        let files = tls.read()?;
        Ok(Self { ca: files.ca, cert: files.cert, key: crate::http::digest(files.key.reveal()) })
    }
}

/// What both servers take from the files.
struct Loaded {
    http: Arc<ServerConfig>,
    jobs: Arc<AgentTls>,
    own: KeyedCertificate,
}

impl Loaded {
    fn from_files(tls: &Tls, ours: &Roots) -> Result<Self, PkiError> {
        let own = KeyedCertificate::load(tls)?;
        let others = tls.ca.as_ref().map(|ca| configured(ca)).transpose()?;
        Ok(Self {
            http: pki::server_config(own.again(), &ClientAuth::None, Alpn::Http1)?,
            jobs: Arc::new(AgentTls::new(own.again(), ours, others.as_ref())?),
            own,
        })
    }
}

impl ServerCertificate {
    /// Reads the files of the configuration.
    pub fn open(tls: &Tls, authority: &Authority, clock: Clock) -> Result<Self, PkiError> {
        let ours = authority.roots()?;
        let loaded = Loaded::from_files(tls, &ours)?;
        Ok(Self {
            tls: tls.clone(),
            ours,
            clock,
            http: watch::Sender::new(loaded.http),
            jobs: watch::Sender::new(loaded.jobs),
            seen: Files::read(tls)?,
            unreadable: None,
            looks_to_next_try: 0,
        })
    }

    /// What the HTTP API shows.
    pub fn http(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.http.subscribe()
    }

    /// What the server for agents shows, and whom it believes.
    pub fn jobs(&self) -> watch::Receiver<Arc<AgentTls>> {
        self.jobs.subscribe()
    }

    /// Looks after the files until `shutdown`; at once where `hangup` says so.
    pub async fn tend(mut self, core: Arc<crate::core::Core>, mut hangup: Signal, shutdown: CancellationToken) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => {}
                _ = hangup.recv() => tracing::info!("looking at the certificate's files"),
            }
            self.renew_if_due(&core.authority);
            self.look();
        }
    }

    /// Takes over what the files hold if it changed. What cannot be used is refused, and said once.
    fn look(&mut self) {
        let files = match Files::read(&self.tls) {
            Ok(files) if files == self.seen => return,
            Ok(files) => files,
            // Between two writes of whoever replaces it, a file may be missing.
            Err(error) if error.is_missing() => return,
            Err(error) => {
                let error = error.to_string();
                if self.unreadable.as_ref() != Some(&error) {
                    tracing::error!(error, "the server's certificate cannot be read again; the one before goes on");
                    self.unreadable = Some(error);
                }
                return;
            }
        };
        (self.seen, self.unreadable) = (files, None);
        let usable = Loaded::from_files(&self.tls, &self.ours)
            .and_then(|loaded| loaded.own.facts().check_time(self.clock.now()).map(|()| loaded));
        match usable {
            Ok(loaded) => {
                let facts = loaded.own.facts();
                tracing::info!(until = %facts.not_after, sha256 = %facts.fingerprint, "took the server's changed certificate");
                self.http.send_replace(loaded.http);
                self.jobs.send_replace(loaded.jobs);
            }
            Err(error) => {
                tracing::error!(%error, "the server's changed certificate is refused; the one before goes on");
            }
        }
    }

    /// Renews the certificate where our CA made it and two thirds of its life are over.
    fn renew_if_due(&mut self, authority: &Authority) {
        let Some(rest) = self.looks_to_next_try.checked_sub(1) else {
            self.looks_to_next_try = LOOKS_PER_TRY;
            match self.renew(authority) {
                Ok(()) => {}
                Err(error) => tracing::error!(%error, "the server's certificate was not renewed"),
            }
            return;
        };
        self.looks_to_next_try = rest;
    }

    fn renew(&self, authority: &Authority) -> Result<(), PkiError> {
        let now = self.clock.now();
        let current = KeyedCertificate::load(&self.tls)?;
        if !current.facts().wants_renewal(now) || self.ours.check_signed(current.certificate()).is_err() {
            return Ok(());
        }
        let renewed = authority.renew_server(&config::file::read(&self.tls.cert)?, now, SERVER_DAYS)?;
        config::file::write_public(&self.tls.cert, renewed.as_bytes())?;
        tracing::info!(file = %self.tls.cert.display(), "renewed the server's certificate");
        Ok(())
    }
}

/// The CA, in PEM, that agents must believe to believe the server: ours where it signed the certificate, else the one
/// that the configuration names.
pub fn server_ca(tls: &Tls, authority: &Authority) -> Result<String, PkiError> {
    let own = KeyedCertificate::load(tls)?;
    match (authority.roots()?.check_signed(own.certificate()), &tls.ca) {
        (Ok(()), _) => Ok(authority.certificate_pem().to_owned()),
        (Err(error), None) => Err(error.in_file(&tls.cert)),
        (Err(_), Some(ca)) => Ok(config::file::read(ca)?),
    }
}

fn configured(ca: &Path) -> Result<Roots, PkiError> {
    Roots::from_pem(&config::file::read(ca)?).map_err(|error| error.in_file(ca))
}
