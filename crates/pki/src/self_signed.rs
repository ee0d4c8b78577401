//! The certificate of a device that nobody has given one yet.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use time::{Duration, OffsetDateTime};
use types::SecretText;

use crate::{IssuedServer, PkiError};

/// Days that it is valid: such a device may lie in a drawer.
const DAYS: i64 = 730;

/// A certificate that signs itself, as OpenWrt makes one for uhttpd at the first start.
pub fn self_signed(name: &str, now: OffsetDateTime) -> Result<IssuedServer, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now - Duration::minutes(5);
    params.not_after = now + Duration::days(DAYS);
    let certificate_pem = params.self_signed(&key)?.pem();
    Ok(IssuedServer { certificate_pem, key_pem: SecretText::new(key.serialize_pem()) })
}
