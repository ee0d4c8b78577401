//! What stands before every request: names, origins, limits, and how the server ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::installation::{Installation, PATIENCE, free_port, until};

fn https(installation: &Installation) -> Client {
    Client::builder().tls_backend_preconfigured(installation.tls()).build().unwrap()
}

fn token(installation: &Installation) -> String {
    std::fs::read_to_string(installation.file("tester")).unwrap().trim().to_owned()
}

/// The type of a problem without what all types begin with.
async fn kind(response: reqwest::Response) -> String {
    let problem: api::Problem = response.json().await.unwrap();
    problem.kind.trim_start_matches("urn:rhyzome:problem:").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_own_names_and_pages_are_served() {
    let installation = Installation::start_with(|config| config["http"]["names"] = json!(["cloud.example.org"])).await;
    let (http, token) = (https(&installation), token(&installation));
    let ask = async |host: &str, origin: Option<&str>| {
        let mut request =
            http.get(format!("{}/v1/networks", installation.url())).bearer_auth(&token).header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let response = request.send().await.unwrap();
        assert!(!response.headers().contains_key("access-control-allow-origin"));
        response
    };
    assert_eq!(ask("cloud.example.org", None).await.status(), StatusCode::OK);
    assert_eq!(ask("cloud.example.org", Some("https://cloud.example.org")).await.status(), StatusCode::OK);
    assert_eq!(kind(ask("rebound.example", None).await).await, "misdirected");
    assert_eq!(kind(ask("cloud.example.org", Some("https://rebound.example")).await).await, "foreign-origin");
    assert_eq!(kind(ask("cloud.example.org", Some("null")).await).await, "foreign-origin");
    let preflight = http
        .request(reqwest::Method::OPTIONS, format!("{}/v1/networks", installation.url()))
        .header("origin", "https://rebound.example")
        .header("access-control-request-method", "POST");
    assert_eq!(kind(preflight.send().await.unwrap()).await, "foreign-origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_told_when_to_come_back() {
    let installation = Installation::start_with(|config| {
        config["http"]["rate"] = json!({
            "token": {"per_second": 1, "burst": 40}, "address": {"per_second": 1, "burst": 3}, "streams": 1,
        });
    })
    .await;
    let (http, token) = (https(&installation), token(&installation));
    let events = || http.get(format!("{}/v1/events", installation.url())).bearer_auth(&token).send();
    let stream = events().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    let second = events().await.unwrap();
    assert_eq!((second.status(), kind(second).await.as_str()), (StatusCode::TOO_MANY_REQUESTS, "too-many"));
    drop(stream);
    until("the place of the first stream to be free", async || {
        let again = events().await.unwrap();
        again.status().is_success().then_some(())
    })
    .await;

    let refused = async |token: &str, limit: usize| {
        for _ in 0..limit {
            let asked = http.get(format!("{}/v1/networks", installation.url())).bearer_auth(token).send();
            let response = asked.await.unwrap();
            if response.status() == StatusCode::TOO_MANY_REQUESTS {
                let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=60).contains(&wait));
                return kind(response).await;
            }
        }
        panic!("all {limit} requests were taken");
    };
    assert_eq!(refused("rzt_wrong", 30).await, "too-many");
    let good = http.get(format!("{}/v1/networks", installation.url())).bearer_auth(&token).send();
    assert_eq!(good.await.unwrap().status(), StatusCode::OK, "who has a token is no stranger");
    assert_eq!(refused(&token, 200).await, "too-many");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_arrives_before_the_body_is_read() {
    let installation = Installation::start().await;
    let (http, token) = (https(&installation), token(&installation));
    installation.token("local", &["event:read"], "weak").await;
    let weak = std::fs::read_to_string(installation.file("weak")).unwrap().trim().to_owned();
    for (token, path, expected) in [
        (weak.as_str(), "/v1/images/tiny/content", "forbidden"),
        (token.as_str(), "/v1/images/tiny/content", "not-found"),
        (token.as_str(), "/v1/images", "too-large"),
    ] {
        let method = if path.ends_with("content") { reqwest::Method::PUT } else { reqwest::Method::POST };
        let request = http.request(method, format!("{}{path}", installation.url())).bearer_auth(token);
        let response = request.body(vec![b' '; 16 << 20]).send().await.unwrap();
        assert_eq!(kind(response).await, expected);
    }

    // A client that reads only after it has sent everything.
    let address: SocketAddr = installation.url().trim_start_matches("https://").parse().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(installation.tls()));
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap();
    let head = format!(
        "PUT /v1/images/tiny/content HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {weak}\r\ncontent-length: {}\r\n\r\n",
        16 << 20
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 16 << 20]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("problem:forbidden"), "{answer}");

    let mut many = http.get(format!("{}/healthz", installation.url()));
    for number in 0..100 {
        many = many.header(format!("x-{number}"), "x");
    }
    assert_eq!(many.send().await.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_say_how_much_and_not_whose() {
    let port = free_port();
    let mut installation =
        Installation::start_with(|config| config["metrics"] = json!({"listen": format!("127.0.0.1:{port}")})).await;
    installation.agent("router", "router", &Arc::new(jobs::simulated::Simulated::router())).await;
    let client = installation.client("tester");
    let body = serde_json::from_value(json!({"name": "conspicuous"})).unwrap();
    let accepted = client.create::<api::Network>(&body).await.unwrap();
    crate::installation::succeeded(&client, accepted.operation).await;
    let plain = Client::new();
    let figures = until("the operation to be counted", async || {
        let text = plain.get(format!("http://127.0.0.1:{port}/metrics")).send().await.ok()?.text().await.ok()?;
        let counted = ["rhyzome_operation_duration_seconds_count{", "of=\"read\"} ", "of=\"write\"} "];
        counted.iter().all(|figure| text.contains(figure)).then_some(text)
    })
    .await;
    for expected in [
        "rhyzome_http_request_duration_seconds_count{route=\"/v1/networks\",method=\"POST\",status=\"202\"} 1",
        "rhyzome_operation_duration_seconds_count{action=\"network.create\",state=\"succeeded\"} 1",
        "rhyzome_agents_connected{target=\"router\"} 1",
        "rhyzome_jobs_waiting{target=\"router\"} 0",
        "rhyzome_executor_tasks",
        // Not by this scrape: by the measurement that goes on without any.
        "rhyzome_database_duration_seconds_count{of=\"read\"} 1",
    ] {
        assert!(figures.contains(expected), "{expected} is missing in\n{figures}");
    }
    for secret in ["conspicuous", "local", "tester", "rzt_", &accepted.resource.id.to_string()] {
        assert!(!figures.contains(secret), "{secret} is in\n{figures}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_announced_and_orderly() {
    let mut installation =
        Installation::start_with(|config| config["http"]["drain"] = json!({"notice_seconds": 3})).await;
    let (http, token) = (https(&installation), token(&installation));
    let url = installation.url().to_owned();
    let ready = || http.get(format!("{url}/readyz")).send();
    assert_eq!(ready().await.unwrap().status(), StatusCode::OK);
    let events = http.get(format!("{}/v1/events", installation.url())).bearer_auth(&token).send().await.unwrap();
    let mut events = events.bytes_stream();
    // Half of a request is under way.
    let (slow, body) = tokio::sync::mpsc::channel::<std::io::Result<Vec<u8>>>(1);
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(body));
    let request = http.post(format!("{}/v1/networks", installation.url())).bearer_auth(&token).body(body);
    slow.send(Ok(b"{\"name\": ".to_vec())).await.unwrap();
    let under_way = tokio::spawn(request.send());

    let mut core = installation.terminate_core();
    until("readyz to say that the server ends", async || {
        (ready().await.ok()?.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    tokio::time::timeout(PATIENCE, async { while events.next().await.is_some() {} }).await.unwrap();
    slow.send(Ok(b"\"home\"}".to_vec())).await.unwrap();
    drop(slow);
    let response = under_way.await.unwrap().unwrap();
    assert!(kind(response).await == "unavailable", "no router was invited, and that is the answer");
    let ended = tokio::time::timeout(Duration::from_secs(30), core.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
}
