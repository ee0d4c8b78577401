//! Images by URL: what is fetched, what is refused, and the one clear reason that people read.

use api::{Client, ClientError, Image, ImageCreate, OperationState, State};
use serde_json::json;
use sha2::{Digest, Sha256};
use testbed::Engine;
use types::Sha256Digest;

use crate::image_source::ImageSource;
use crate::installation::{Installation, ended, engine, named, qcow2, succeeded, until};

const LIMIT: usize = 1 << 20;

/// A core that believes the source's certificate, may ask it at one loopback address, and has proxies in its
/// environment that nobody answers at.
async fn beside(source: &ImageSource, private: serde_json::Value) -> Installation {
    let mut installation = Installation::prepare_with(|config| {
        config["allow_private_image_sources"] = private;
        config["image_limit"] = LIMIT.into();
    })
    .await;
    installation.environment("SSL_CERT_FILE", source.ca());
    for proxy in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        installation.environment(proxy, "http://127.0.0.1:9");
    }
    installation.token("local", &["*:*"], "tester").await;
    installation.start_core().await;
    installation
}

fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

async fn ask(client: &Client, name: &str, url: &str, bytes: &[u8]) -> Result<api::Accepted<Image>, ClientError> {
    let body = json!({"name": name, "spec": {"url": url, "sha256": sha256(bytes)}});
    client.create::<Image>(&serde_json::from_value::<ImageCreate>(body).unwrap()).await
}

/// Asks for an image that cannot be had; gives the reason, which operation and image must agree on.
async fn reason(client: &Client, name: &str, url: &str, bytes: &[u8]) -> String {
    let accepted = ask(client, name, url, bytes).await.unwrap();
    let operation = ended(client, accepted.operation).await;
    assert_eq!(operation.state, OperationState::Failed, "{url}");
    let reason = operation.reason.unwrap();
    let image: Image = client.get(&named::<Image>(name)).await.unwrap();
    assert_eq!(image.state, State::Failed);
    let told = image.conditions.iter().find(|condition| condition.name == "applied").unwrap();
    assert!(!told.holds && told.reason.as_ref() == Some(&reason), "{told:?}");
    reason
}

fn files(installation: &Installation) -> Vec<String> {
    let entries = std::fs::read_dir(installation.file("data/images")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_fetched_and_freed() {
    let file = qcow2();
    let source = ImageSource::start(&file).await;
    let installation = beside(&source, json!(["127.0.0.1/32"])).await;
    let client = installation.client("tester");
    for (name, path) in [("direct", "/good"), ("moved", "/to-good"), ("mapped", "/good")] {
        let url = if name == "mapped" { source.url_at("[::ffff:127.0.0.1]", path) } else { source.url(path) };
        if name == "mapped" {
            // The same address in other words is allowed as it is; the certificate is not for these words.
            let reason = reason(&client, name, &url, &file).await;
            assert!(reason.contains("does not answer"), "{reason}");
            continue;
        }
        let accepted = ask(&client, name, &url, &file).await.unwrap();
        succeeded(&client, accepted.operation).await;
        let image: Image = client.get(&named::<Image>(name)).await.unwrap();
        assert_eq!(image.status.file_size.unwrap().get(), file.len() as u64);
        assert_eq!(image.status.virtual_size.unwrap().get(), 64 << 20);
    }
    assert_eq!(files(&installation), [format!("{}.qcow2", sha256(&file))], "one file for both");
    for (name, left) in [("direct", 1), ("moved", 0)] {
        let deleted = client.delete::<Image>(&named::<Image>(name)).await.unwrap();
        succeeded(&client, deleted.operation).await;
        until("the file to be freed", async || (files(&installation).len() == left).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_says_why_and_leaves_nothing() {
    let file = qcow2();
    let source = ImageSource::start(&file).await;
    let installation = beside(&source, json!(["127.0.0.1/32"])).await;
    let client = installation.client("tester");
    for (name, path, told) in [
        ("private", "/to-private", "127.0.0.2, which is not public"),
        ("mapped", "/to-mapped", "127.0.0.2, which is not public"),
        ("http", "/to-http", "expected an https URL"),
        ("file", "/to-file", "expected an https URL"),
        ("user", "/to-user?geheim", "without a user"),
        ("nowhere", "/nowhere", "redirects nowhere"),
        ("loop", "/loop", "end of 5 redirects"),
        ("missing", "/missing?key=geheim", "answered 404"),
        ("silent", "/silent", "does not answer"),
        ("truncated", "/truncated", "broke off after 4096 bytes"),
        ("declared", "/declared", "may have 1048576 bytes at most"),
        ("endless", "/endless", "may have 1048576 bytes at most"),
        ("other", "/other", "the file's SHA-256 is 2cf24dba"),
    ] {
        let reason = reason(&client, name, &source.url(path), &file).await;
        assert!(reason.contains(told), "{name}: {reason}");
        assert!(!reason.contains("geheim") && !installation.log().contains("geheim"), "{name}: {reason}");
        assert_eq!(files(&installation), [""; 0], "{name}");
    }
    let reason = reason(&client, "no-image", &source.url("/other"), b"hello").await;
    assert!(reason.contains("no qcow2 image"), "{reason}");
    assert_eq!(files(&installation), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_private_is_asked_unless_it_is_allowed() {
    let file = qcow2();
    let source = ImageSource::start(&file).await;
    let installation = beside(&source, json!(false)).await;
    let client = installation.client("tester");
    for (number, host) in [
        "localhost",
        "127.0.0.1",
        "2130706433",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::1]",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "[fe80::1]",
        "[fd00::1]",
    ]
    .into_iter()
    .enumerate()
    {
        let reason = reason(&client, &format!("image-{number}"), &source.url_at(host, "/good"), &file).await;
        assert!(reason.contains("which is not public"), "{host}: {reason}");
    }
    assert_eq!(source.connections(), 0);
    let unknown = reason(&client, "unknown", "https://nowhere.invalid/", &file).await;
    assert!(unknown.contains("nowhere.invalid cannot be looked up"), "{unknown}");

    let url = "http://127.0.0.1/";
    for url in [url, "https://user@127.0.0.1/", "https://:word@127.0.0.1/", "ftp://127.0.0.1/", "nonsense"] {
        let ClientError::Problem(problem) = ask(&client, "refused", url, &file).await.unwrap_err() else {
            panic!("{url}");
        };
        assert_eq!((problem.status, problem.faults[0].field.as_str()), (422, "/spec/url"), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_unknown_ca_is_not_believed() {
    let file = qcow2();
    let (source, stranger) = (ImageSource::start(&file).await, ImageSource::start(&file).await);
    let installation = beside(&source, json!(["127.0.0.1/32"])).await;
    let reason = reason(&installation.client("tester"), "foreign", &stranger.url("/good"), &file).await;
    assert!(reason.contains("does not answer") && reason.contains("certificate"), "{reason}");
    assert_eq!(files(&installation), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_is_made_good() {
    let file = qcow2();
    let source = ImageSource::start(&file).await;
    let mut installation = beside(&source, json!(["127.0.0.1/32"])).await;
    let client = installation.client("tester");
    let accepted = ask(&client, "held", &source.url("/held"), &file).await.unwrap();
    until("half of it to arrive", async || {
        let arrived = std::fs::read_dir(installation.file("data/images")).ok()?.flatten();
        arrived.into_iter().find(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 0))
    })
    .await;
    installation.kill_core().await;
    let [left] = files(&installation).try_into().unwrap();
    assert!(left.ends_with(".part"), "the crash leaves something, or this test is worth nothing");
    installation.start_core().await;
    // Over PostgreSQL another core might be writing what is left: there it goes when it is old.
    let stays = engine() == Engine::Postgres;
    until("half of it to arrive again", async || {
        let (old, new): (Vec<_>, Vec<_>) = files(&installation).into_iter().partition(|file| *file == left);
        (new.len() == 1 && new[0].ends_with(".part") && old.is_empty() != stays).then_some(())
    })
    .await;
    source.release();
    succeeded(&client, accepted.operation).await;
    let found: Vec<_> = files(&installation).into_iter().filter(|file| !stays || *file != left).collect();
    assert_eq!(found, [format!("{}.qcow2", sha256(&file))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_image_is_not_fetched_to_its_end() {
    let file = qcow2();
    let source = ImageSource::start(&file).await;
    let installation = beside(&source, json!(["127.0.0.1/32"])).await;
    let client = installation.client("tester");
    ask(&client, "drops", &source.url("/drops"), &file).await.unwrap();
    until("some of it to arrive", async || {
        let image: Image = client.get(&named::<Image>("drops")).await.unwrap();
        (image.status.received > 0).then_some(())
    })
    .await;
    let deleted = client.delete::<Image>(&named::<Image>("drops")).await.unwrap();
    succeeded(&client, deleted.operation).await;
    source.answering(0).await;
    until("the file to be freed", async || files(&installation).is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_goes_on_where_it_was_or_from_the_start() {
    let file = qcow2();
    let source = ImageSource::start(&file).await;
    let installation = beside(&source, json!(["127.0.0.1/32"])).await;
    let client = installation.client("tester");
    let rest = format!("range: bytes={}-;if-range: \"one\";", file.len() / 2);
    for (name, path, asked) in [
        ("goes-on", "/ranges", vec!["", rest.as_str()]),
        // What it asks for the rest of is another file by now, or comes from another place: it is had from the start.
        ("changed", "/changed", vec!["", rest.as_str(), ""]),
        ("astray", "/astray", vec!["", rest.as_str(), ""]),
        // No two answers with a weak tag are sure to have the same bytes.
        ("weak", "/weak", vec!["", ""]),
    ] {
        let accepted = ask(&client, name, &source.url(path), &file).await.unwrap();
        succeeded(&client, accepted.operation).await;
        assert_eq!(source.asked(path), asked, "{name}");
    }
    assert_eq!(files(&installation), [format!("{}.qcow2", sha256(&file))]);
}
