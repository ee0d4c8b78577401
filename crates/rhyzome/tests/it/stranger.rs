//! Whoever signed its certificate itself: the handshake takes it, and no method does.

use std::collections::BTreeSet;

use jobs::credentials::Credentials;
use jobs::proto::enrolment_client::EnrolmentClient;
use jobs::proto::jobs_client::JobsClient;
use jobs::proto::{EnrolRequest, FromAgent, ImageRequest, RenewRequest, from_agent};
use jobs::{Invitation, Refusal, connection};
use pki::{Authority, CertificateRequest, KeyedCertificate};
use time::OffsetDateTime;
use tonic::transport::Channel;
use tonic::{Code, Status};
use types::SecretText;

use crate::certificate::{enrolled, hello, openssl, signed};
use crate::installation::{Installation, project_file};

/// A certificate that names a good agent and that nobody vouches for.
async fn self_signed(known: &Credentials) -> KeyedCertificate {
    let dir = tempfile::tempdir().unwrap();
    let make =
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -keyout key.pem -out cert.pem -days 9";
    let names = format!("-subj /CN=agent -addext subjectAltName=URI:{}", known.identity);
    openssl(dir.path(), &format!("{make} {names} -addext extendedKeyUsage=clientAuth")).await;
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    KeyedCertificate::from_pem(&read("cert.pem"), &SecretText::new(read("key.pem"))).unwrap()
}

/// What a method answers.
async fn answer(method: &str, channel: Channel, invitation: &Invitation) -> Status {
    let csr_pem = CertificateRequest::make("stranger").unwrap().csr_pem;
    let (mut jobs, mut enrolment) = (JobsClient::new(channel.clone()), EnrolmentClient::new(channel));
    let first = FromAgent { body: Some(from_agent::Body::Hello(hello(2).into())) };
    let guess =
        EnrolRequest { invitation: invitation.id.to_string(), secret: "guess".to_owned(), csr_pem: csr_pem.clone() };
    let status = match method {
        "Session" => jobs.session(tokio_stream::iter([first])).await.err(),
        "FetchImage" => jobs.fetch_image(ImageRequest { sha256: "ab".repeat(32) }).await.err(),
        "Renew" => enrolment.renew(RenewRequest { csr_pem }).await.err(),
        "Enrol" => enrolment.enrol(guess).await.err(),
        other => panic!("nobody tried {other} with a certificate that is not believed: do it here"),
    };
    status.unwrap_or_else(|| panic!("{method} serves strangers"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_believes_a_certificate_that_its_holder_signed() {
    let installation = Installation::start().await;
    let known = enrolled(&installation, "one").await;
    let file = installation.invite("router", "two").await;
    let invitation: Invitation = std::fs::read_to_string(file).unwrap().parse().unwrap();
    let stranger = self_signed(&known).await;
    let now = OffsetDateTime::now_utc();
    let theirs = Authority::init(&installation.file("theirs"), now).unwrap();
    let foreign = signed(&theirs, &known.identity, now, 9);
    let protocol = std::fs::read_to_string(project_file("crates/jobs/proto/jobs.proto")).unwrap();
    let methods: BTreeSet<&str> = protocol
        .lines()
        .filter_map(|line| line.trim().strip_prefix("rpc ")?.split_once('(').map(|(method, _)| method))
        .collect();
    assert_eq!(methods.len(), 4, "{methods:?}");
    for method in methods {
        let shown = [
            // What openssl signs by itself is a CA as well, which no agent is.
            (Some(stranger.again()), Refusal::Wrong),
            (Some(foreign.again()), Refusal::Foreign),
            (None, Refusal::NoCertificate),
        ];
        for (own, refusal) in shown {
            let channel = connection::connect(&known.core, &known.ca, own).await.unwrap();
            let status = answer(method, channel, &invitation).await;
            // An invitation is what enrolment goes by, whatever certificate is shown beside it.
            let expected = (method != "Enrol").then_some(refusal);
            assert_eq!(Refusal::of(&status), expected, "{method}: {status}");
            assert!([Code::PermissionDenied, Code::Unauthenticated].contains(&status.code()), "{method}: {status}");
        }
    }
}
