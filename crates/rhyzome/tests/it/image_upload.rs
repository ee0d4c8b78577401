//! Images that are sent: what breaks off, what is wrong and what comes twice leaves nothing and can be repeated.

use api::{Accepted, Client, ClientError, Image, ImageCreate, State};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use types::{ImageId, Sha256Digest};

use crate::installation::{Installation, named, qcow2, succeeded, until};

const LIMIT: usize = 1 << 20;

async fn start() -> (Installation, Client) {
    let installation = Installation::start_with(|config| config["image_limit"] = LIMIT.into()).await;
    let client = installation.client("tester");
    (installation, client)
}

async fn asked(client: &Client, name: &str, bytes: &[u8]) -> Accepted<Image> {
    let sha256 = Sha256Digest::from_bytes(Sha256::digest(bytes).into());
    let body = json!({"name": name, "spec": {"sha256": sha256}});
    client.create::<Image>(&serde_json::from_value::<ImageCreate>(body).unwrap()).await.unwrap()
}

async fn send(client: &Client, image: ImageId, bytes: &[u8]) -> Result<Image, ClientError> {
    let body = futures_util::stream::iter([Ok(bytes.to_vec())]);
    client.upload(image, bytes.len() as u64, body).await
}

/// An upload whose bytes come as the test gives them.
struct Slow {
    bytes: mpsc::Sender<std::io::Result<Vec<u8>>>,
    answer: tokio::task::JoinHandle<Result<Image, ClientError>>,
}

impl Slow {
    fn start(installation: &Installation, image: ImageId, length: usize) -> Self {
        let (bytes, body) = mpsc::channel(1);
        let client = installation.client("tester");
        let answer = tokio::spawn(async move { client.upload(image, length as u64, ReceiverStream::new(body)).await });
        Self { bytes, answer }
    }

    async fn give(&self, bytes: &[u8]) {
        self.bytes.send(Ok(bytes.to_vec())).await.unwrap();
    }
}

fn parts(installation: &Installation) -> Vec<u64> {
    let entries = std::fs::read_dir(installation.file("data/images")).into_iter().flatten().flatten();
    let parts = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "part"));
    parts.map(|part| part.metadata().map_or(0, |metadata| metadata.len())).collect()
}

fn refusal(result: Result<Image, ClientError>) -> (u16, String) {
    let ClientError::Problem(problem) = result.unwrap_err() else { panic!("no problem") };
    (problem.status, problem.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_can_be_repeated() {
    let (installation, client) = start().await;
    let file = qcow2();
    let accepted = asked(&client, "tiny", &file).await;
    let image = accepted.resource.id;
    let slow = Slow::start(&installation, image, file.len());
    slow.give(&file[..1000]).await;
    until("some of it to arrive", async || (parts(&installation) == [1000]).then_some(())).await;
    slow.answer.abort();
    until("what arrived to be removed", async || parts(&installation).is_empty().then_some(())).await;
    let waiting: Image = client.get(&named::<Image>("tiny")).await.unwrap();
    assert_eq!((waiting.state, waiting.status.virtual_size), (State::Creating, None));
    send(&client, image, &file).await.unwrap();
    succeeded(&client, accepted.operation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uploads_at_once_one_is_kept() {
    let (installation, client) = start().await;
    let file = qcow2();
    let accepted = asked(&client, "tiny", &file).await;
    let image = accepted.resource.id;
    let slow = Slow::start(&installation, image, file.len());
    slow.give(&[0xff; 1000]).await;
    until("some of it to arrive", async || (parts(&installation) == [1000]).then_some(())).await;
    send(&client, image, &file).await.unwrap();
    succeeded(&client, accepted.operation).await;
    slow.give(&[0xff; 3096]).await;
    drop(slow.bytes);
    let (status, _) = refusal(slow.answer.await.unwrap());
    assert_eq!(status, 422, "the other bytes were not the image");
    let kept = std::fs::read(installation.file(&format!("data/images/{}.qcow2", accepted.resource.spec.sha256)));
    assert_eq!(kept.unwrap(), file, "the slower one wrote into no file but its own");
    assert_eq!(parts(&installation), [0; 0]);
    let (status, told) = refusal(send(&client, image, &file).await);
    assert!(status == 409 && told.contains("has its file already"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_what_is_right_still_taken() {
    let (installation, client) = start().await;
    let file = qcow2();
    let tiny = asked(&client, "tiny", &file).await;
    let (status, told) = refusal(send(&client, tiny.resource.id, b"something else").await);
    assert!(status == 422 && told.contains("the file's SHA-256 is"), "{told}");
    let (status, told) = refusal(send(&client, tiny.resource.id, &vec![0; LIMIT + 1]).await);
    assert!(status == 413 && told.contains("1048576 bytes at most"), "{told}");

    let text = asked(&client, "text", b"no image").await;
    let (status, told) = refusal(send(&client, text.resource.id, b"no image").await);
    assert!(status == 422 && told.contains("no qcow2 image"), "{told}");
    assert_eq!(parts(&installation), [0; 0]);

    send(&client, tiny.resource.id, &file).await.unwrap();
    succeeded(&client, tiny.operation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_an_image_that_is_deleted_meanwhile_leaves_nothing() {
    let (installation, client) = start().await;
    let file = qcow2();
    let accepted = asked(&client, "tiny", &file).await;
    let slow = Slow::start(&installation, accepted.resource.id, file.len());
    slow.give(&file[..1000]).await;
    until("some of it to arrive", async || (parts(&installation) == [1000]).then_some(())).await;
    let deleted = client.delete::<Image>(&named::<Image>("tiny")).await.unwrap();
    succeeded(&client, deleted.operation).await;
    slow.give(&file[1000..]).await;
    drop(slow.bytes);
    let (status, told) = refusal(slow.answer.await.unwrap());
    assert!(status == 409 && told.contains("gone"), "{told}");
    assert_eq!(std::fs::read_dir(installation.file("data/images")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_so_many_bytes_and_no_more() {
    let file = qcow2();
    let length = file.len() as u64;
    let installation = Installation::start_with(|config| config["image_quota"] = (2 * length - 1).into()).await;
    installation.token("garden", &["*:*"], "gardener").await;
    let client = installation.client("tester");
    let first = asked(&client, "first", &file).await;
    send(&client, first.resource.id, &file).await.unwrap();
    let second = asked(&client, "second", &file).await;
    let (status, told) = refusal(send(&client, second.resource.id, &file).await);
    assert!(status == 507 && told.contains(&format!("{length} of {}", 2 * length - 1)), "{status} {told}");
    // Without a length beforehand it is seen at the end, and nothing is left then either.
    let unannounced = futures_util::stream::iter([Ok::<_, std::io::Error>(file.clone())]);
    let token = std::fs::read_to_string(installation.file("tester")).unwrap();
    let http = reqwest::Client::builder().tls_backend_preconfigured(installation.tls()).build().unwrap();
    let url = format!("{}/v1/images/second/content", installation.url());
    let request = http.put(url).bearer_auth(token.trim()).header("content-type", "application/octet-stream");
    let response = request.body(reqwest::Body::wrap_stream(unannounced)).send().await.unwrap();
    assert_eq!(response.status(), 507);
    assert_eq!(parts(&installation), [0; 0]);

    let gardener = installation.client("gardener");
    let other = asked(&gardener, "first", &file).await;
    send(&gardener, other.resource.id, &file).await.unwrap();
    client.delete::<Image>(&named::<Image>("first")).await.unwrap();
    until("the first to be gone", async || client.get::<Image>(&named::<Image>("first")).await.err()).await;
    send(&client, second.resource.id, &file).await.unwrap();
}
