//! The CA of an installation, its certificates, and TLS made from them.
//!
//! The one crate that names a TLS provider (ring). Everything takes the time as an argument, except for handshakes,
//! which read the clock themselves. Keys are ECDSA on P-256; agents are known by a URI in their certificates.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod authority;
mod clock;
mod error;
mod facts;
mod handshake;
mod identity;
mod keyed;
mod pin;
mod request;
mod self_signed;
mod shown;
mod tls;

pub use authority::{AGENT_DAYS, Authority, CA_DAYS, IssuedServer, SERVER_DAYS};
pub use clock::Clock;
pub use error::PkiError;
pub use facts::{CertificateFacts, Fingerprint, show};
pub use handshake::handshake_failure;
pub use identity::{AgentIdentity, identity_of};
pub use keyed::KeyedCertificate;
pub use pin::{Seen, looking_client_config, pinned_client_config};
pub use request::{CertificateRequest, requested_key_digest};
pub use self_signed::self_signed;
pub use shown::{Issuer, Judge, Shown};
pub use tls::{Alpn, ClientAuth, Roots, client_config, install_provider, server_config};

pub use rustls::pki_types::{CertificateDer, ServerName};
pub use rustls::{ClientConfig, ServerConfig};
pub use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
