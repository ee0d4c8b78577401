//! The CA on disk, and what its certificates say.

use config::Tls;
use pki::{Authority, CertificateRequest, KeyedCertificate, PkiError, Roots, identity_of, requested_key_digest, show};

use crate::{agent, authority, content, days, identity, names, now, server};

#[test]
fn a_ca_is_made_once_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("ca");
    let made = Authority::init(&place, now()).unwrap();
    assert!(made.facts().is_ca && made.facts().subject.starts_with("CN=Rhyzome CA "));
    assert!(matches!(Authority::init(&place, now()), Err(PkiError::AlreadyInitialised(_))));
    let read = Authority::load_or_init(&place, now()).unwrap();
    assert_eq!(read.certificate_pem(), made.certificate_pem());
    agent(&read, now()).check(&made.roots().unwrap(), now()).unwrap();
}

#[test]
fn a_crash_before_the_certificate_was_written_is_made_good() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("ca");
    Authority::init(&place, now()).unwrap();
    let key = content(&place.join("ca-key.pem"));
    std::fs::remove_file(place.join("ca.pem")).unwrap();
    Authority::load_or_init(&place, now()).unwrap();
    assert_eq!(content(&place.join("ca-key.pem")), key, "the key is kept");
    Authority::load(&place).unwrap();
}

#[test]
fn what_is_wrong_with_the_ca_is_said_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    Authority::init(&one, now()).unwrap();
    Authority::init(&two, now()).unwrap();
    let complaint = || Authority::load(&one).err().unwrap().to_string();

    std::fs::copy(two.join("ca-key.pem"), one.join("ca-key.pem")).unwrap();
    let text = complaint();
    assert!(text.contains("one/ca-key.pem: the private key does not match"), "{text}");
    std::fs::write(one.join("ca-key.pem"), "nonsense").unwrap();
    assert!(complaint().contains("one/ca-key.pem: there is no private key"), "{}", complaint());
    std::fs::write(one.join("ca.pem"), "nonsense").unwrap();
    assert!(complaint().contains("one/ca.pem: there is no certificate"), "{}", complaint());
}

#[test]
fn server_certificates_say_whose_they_are_and_for_how_long() {
    let ours = authority();
    let at = now();
    let issued = ours.issue_server(&names(&["core.example.org", "10.0.0.1", "fd00::1"]), at, 398).unwrap();
    let facts = show(&issued.certificate_pem).unwrap();
    assert_eq!(facts.sans, ["DNS:core.example.org", "IP:10.0.0.1", "IP:fd00::1"]);
    assert_eq!((facts.subject.as_str(), facts.is_ca), ("CN=core.example.org", false));
    assert_eq!(facts.issuer, ours.facts().subject);
    assert_eq!((facts.not_after - at).whole_days(), 397, "398 days, less the fraction of a second");
    let text = facts.to_string();
    assert!(text.contains("name         IP:10.0.0.1\n") && text.contains(&facts.fingerprint.to_string()), "{text}");
    assert!(matches!(ours.issue_server(&[], at, 398), Err(PkiError::NoName)));
}

#[test]
fn renewal_comes_after_two_thirds_and_keeps_key_and_names() {
    let dir = tempfile::tempdir().unwrap();
    let ours = authority();
    let start = now();
    let tls = Tls::in_directory(dir.path());
    let issued = ours.issue_server(&names(&["core.example.org", "::1"]), start, 300).unwrap();
    issued.write(&tls.cert, &tls.key).unwrap();
    let facts = show(&issued.certificate_pem).unwrap();
    assert!(!facts.wants_renewal(start + days(199)));
    assert!(facts.wants_renewal(start + days(200)));

    let renewed = ours.renew_server(&content(&tls.cert), start + days(200), 300).unwrap();
    config::file::write_public(&tls.cert, renewed.as_bytes()).unwrap();
    std::fs::write(tls.ca.as_ref().unwrap(), ours.certificate_pem()).unwrap();
    let loaded = KeyedCertificate::load(&tls).unwrap();
    assert_eq!(loaded.facts().sans, facts.sans);
    assert_eq!((loaded.facts().not_after - facts.not_after).whole_days(), 200);
    assert!(matches!(authority().renew_server(&renewed, start, 300), Err(PkiError::NotOurs { .. })));
}

#[test]
fn nothing_outlives_the_ca_and_an_expired_ca_signs_nothing() {
    let ours = authority();
    let late = now() + days(3_600);
    let facts = server(&ours, "core.example.org", late).facts().clone();
    assert_eq!(facts.not_after, ours.facts().not_after);
    let after = now() + days(3_651);
    assert!(matches!(ours.issue_server(&names(&["core.example.org"]), after, 398), Err(PkiError::Expired(_))));
}

#[test]
fn an_agent_gets_the_identity_that_the_ca_says() {
    let ours = authority();
    let certificate = agent(&ours, now());
    assert_eq!(identity_of(&[certificate.certificate().clone()]).unwrap(), identity());
    assert_eq!(certificate.facts().subject, format!("CN={}", identity().agent));
    let core = server(&ours, "core.example.org", now());
    assert!(matches!(identity_of(&[core.certificate().clone()]), Err(PkiError::NoIdentity(_))));
}

#[test]
fn a_request_that_was_tampered_with_is_refused() {
    let ours = authority();
    let mut request = CertificateRequest::make("x").unwrap();
    let again = CertificateRequest::for_key(&request.key_pem, "y").unwrap();
    assert_eq!(requested_key_digest(&request.csr_pem).unwrap(), requested_key_digest(&again.csr_pem).unwrap());
    let other = CertificateRequest::make("x").unwrap();
    assert_ne!(requested_key_digest(&request.csr_pem).unwrap(), requested_key_digest(&other.csr_pem).unwrap());

    // A letter in the middle of the base64 is in the public key or the signature.
    let middle = request.csr_pem.len() / 2;
    let letter = if request.csr_pem.as_bytes()[middle] == b'A' { "B" } else { "A" };
    request.csr_pem.replace_range(middle..=middle, letter);
    let refused = ours.sign_agent(&request.csr_pem, &identity(), now(), 90);
    assert!(matches!(refused, Err(PkiError::BadRequest(_))), "{refused:?}");
}

#[test]
fn certificates_are_checked_against_time_and_ca() {
    let (ours, theirs) = (authority(), authority());
    let roots = ours.roots().unwrap();
    let certificate = agent(&ours, now());
    certificate.check(&roots, now()).unwrap();
    assert!(matches!(certificate.check(&roots, now() + days(91)), Err(PkiError::Expired(_))));
    assert!(matches!(certificate.check(&roots, now() - days(1)), Err(PkiError::NotYetValid(_))));
    assert!(matches!(agent(&theirs, now()).check(&roots, now()), Err(PkiError::NotOurs { .. })));
    assert!(Roots::from_pem("").is_err());
}

#[test]
fn the_files_of_a_configuration_are_named_when_they_do_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let ours = authority();
    let tls = Tls { ca: None, ..Tls::in_directory(dir.path()) };
    let complaint = || KeyedCertificate::load(&tls).err().unwrap().to_string();
    assert!(complaint().starts_with(&format!("cannot read {}", tls.cert.display())), "{}", complaint());

    ours.issue_server(&names(&["a.example.org"]), now(), 30).unwrap().write(&tls.cert, &tls.key).unwrap();
    let other = ours.issue_server(&names(&["b.example.org"]), now(), 30).unwrap();
    std::fs::write(&tls.cert, other.certificate_pem).unwrap();
    assert_eq!(complaint(), format!("{}: the private key does not match the certificate", tls.key.display()));
}
