//! The certificate that uhttpd shows: one that the settings name, or the one that config `uhttpd` names, which changes
//! with it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use config::Tls;
use pki::{Alpn, ClientAuth, KeyedCertificate, ServerConfig, TlsAcceptor};

use crate::configs::Configs;
use crate::files::Root;

/// What a server shows to those who connect.
pub enum Certificate {
    /// What the settings name.
    Fixed(TlsAcceptor),
    /// What config `uhttpd` names; nothing where that cannot be used, as uhttpd does not listen then.
    Configured {
        /// The router's files.
        root: Root,
        /// What was loaded last, and from what.
        loaded: Mutex<(Option<TlsAcceptor>, Vec<u8>)>,
    },
}

impl Certificate {
    /// One that stays.
    #[must_use]
    pub fn fixed(tls: Arc<ServerConfig>) -> Self {
        Self::Fixed(TlsAcceptor::from(tls))
    }

    /// The one that config `uhttpd` names.
    #[must_use]
    pub fn configured(root: Root) -> Self {
        let certificate = Self::Configured { root, loaded: Mutex::default() };
        certificate.reload();
        certificate
    }

    /// What to accept connections with.
    #[must_use]
    pub fn acceptor(&self) -> Option<TlsAcceptor> {
        match self {
            Self::Fixed(acceptor) => Some(acceptor.clone()),
            Self::Configured { loaded, .. } => loaded.lock().unwrap_or_else(PoisonError::into_inner).0.clone(),
        }
    }

    /// Follows config `uhttpd`; tells whether another certificate is shown from now on.
    pub fn reload(&self) -> bool {
        let Self::Configured { root, loaded } = self else { return false };
        let read = read(root);
        let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let (acceptor, source) = match read {
            Ok((acceptor, source)) => (Some(acceptor), source),
            Err(error) => {
                tracing::error!("uhttpd cannot use its certificate and does not listen: {error:#}");
                (None, Vec::new())
            }
        };
        let is_other = loaded.1 != source || loaded.0.is_some() != acceptor.is_some();
        *loaded = (acceptor, source);
        is_other
    }
}

fn read(root: &Root) -> Result<(TlsAcceptor, Vec<u8>)> {
    let uhttpd = Configs::new(root.config.clone()).load_or_empty("uhttpd");
    let main = uhttpd.section("main").context("config uhttpd has no section main")?;
    let file = |option: &str| -> Result<PathBuf> {
        Ok(root.place(main.text(option).with_context(|| format!("uhttpd.main.{option} is missing"))?))
    };
    let (cert, key) = (file("cert")?, file("key")?);
    let source = std::fs::read(&cert).with_context(|| cert.display().to_string())?;
    let keyed = KeyedCertificate::load(&Tls { ca: None, cert, key })?;
    let tls = pki::server_config(keyed, &ClientAuth::None, Alpn::Http1)?;
    Ok((TlsAcceptor::from(tls), source))
}
