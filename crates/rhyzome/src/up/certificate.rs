//! Certificates of the installation's own servers, kept in date at every start.

use std::path::Path;

use anyhow::{Context, Result};
use pki::{Authority, SERVER_DAYS, ServerName};
use time::OffsetDateTime;

/// Sees to it that `certificate` and `key` are there, speak for `names`, and are not near their end.
pub fn ensure(
    authority: &Authority,
    names: &[String],
    certificate: &Path,
    key: &Path,
    now: OffsetDateTime,
) -> Result<()> {
    let names: Vec<ServerName<'_>> = names
        .iter()
        .map(|name| ServerName::try_from(name.as_str()).with_context(|| format!("{name} is no server's name")))
        .collect::<Result<_>>()?;
    if serves(authority, &names, certificate, key, now) {
        return Ok(());
    }
    authority.issue_server(&names, now, SERVER_DAYS)?.write(certificate, key)?;
    Ok(())
}

/// Whether what is there will do. What cannot be read will not.
fn serves(
    authority: &Authority,
    names: &[ServerName<'_>],
    certificate: &Path,
    key: &Path,
    now: OffsetDateTime,
) -> bool {
    let tls = config::Tls { ca: None, cert: certificate.to_owned(), key: key.to_owned() };
    let Ok(current) = pki::KeyedCertificate::load(&tls) else { return false };
    let Ok(roots) = authority.roots() else { return false };
    let known = current.facts().server_names();
    let all_named = names.iter().all(|name| known.iter().any(|known| known.to_str() == name.to_str()));
    all_named && !current.facts().wants_renewal(now) && current.check(&roots, now).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use time::Duration;

    use super::*;

    #[test]
    fn a_certificate_is_kept_until_names_time_or_authority_change() {
        let dir = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let authority = Authority::load_or_init(&dir.path().join("ca"), now).unwrap();
        let (certificate, key) = (dir.path().join("core.pem"), dir.path().join("core.key"));
        let ensured = |authority: &Authority, names: &[&str], now| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            ensure(authority, &names, &certificate, &key, now).unwrap();
            fs::read_to_string(&certificate).unwrap()
        };
        let first = ensured(&authority, &["127.0.0.1", "localhost"], now);
        assert_eq!(ensured(&authority, &["localhost"], now), first);
        assert_ne!(ensured(&authority, &["localhost", "10.0.0.1"], now), first);
        let second = ensured(&authority, &["localhost", "10.0.0.1"], now);
        let later = now + Duration::days(i64::from(SERVER_DAYS) - 10);
        let third = ensured(&authority, &["localhost", "10.0.0.1"], later);
        assert_ne!(third, second);
        let other = Authority::load_or_init(&dir.path().join("other"), now).unwrap();
        assert_ne!(ensured(&other, &["localhost", "10.0.0.1"], later), third);
    }
}
