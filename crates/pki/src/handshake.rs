//! Why a handshake failed, for a person who is to do something about it.

use std::io;

use rustls::{CertificateError, Error};

/// What went wrong in a handshake, as a sentence without its subject: `its certificate …` is the other side's.
pub fn handshake_failure(error: &io::Error) -> String {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return error.to_string();
    };
    match tls {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => {
                "its certificate was issued by another CA than the one that is believed here (UnknownIssuer)".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired: it must be renewed there, unless this machine's clock is wrong".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: one of the two machines' clocks is wrong".to_owned()
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "its certificate is not made for this side of a connection".to_owned()
            }
            other => format!("its certificate cannot be believed: {other}"),
        },
        Error::AlertReceived(alert) => format!("it refused the handshake ({alert:?})"),
        other => other.to_string(),
    }
}
