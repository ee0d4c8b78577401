//! What is refused, and how.

use std::sync::Arc;

use api::Problem;
use jobs::simulated::Simulated;
use serde_json::{Value, json};

use crate::installation::Installation;

struct Raw {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Raw {
    fn new(installation: &Installation, token: &str) -> Self {
        let http = reqwest::Client::builder().tls_backend_preconfigured(installation.tls()).build().unwrap();
        let token = std::fs::read_to_string(installation.file(token)).unwrap().trim().to_owned();
        Self { http, base: installation.url().to_owned(), token }
    }

    async fn problem(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> (u16, Problem) {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.base));
        let response = request.bearer_auth(&self.token).body(body).send().await.unwrap();
        let status = response.status().as_u16();
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem: Problem = response.json().await.unwrap();
        assert_eq!(problem.status, status);
        (status, problem)
    }

    async fn faults(&self, path: &str, body: Value) -> Vec<String> {
        let (status, problem) = self.problem("POST", path, body.to_string()).await;
        assert_eq!(status, 422, "{problem}");
        problem.faults.into_iter().map(|fault| fault.field).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_one_clear_error() {
    let mut installation = Installation::start().await;
    let raw = Raw::new(&installation, "tester");
    let (status, problem) = raw.problem("POST", "/v1/networks", json!({"name": "home"}).to_string()).await;
    assert_eq!(status, 503, "no router was invited: {problem}");
    installation.agent("router", "router", &Arc::new(Simulated::router())).await;

    assert_eq!(raw.problem("POST", "/v1/networks", "{\"name\":").await.0, 400);
    assert_eq!(raw.problem("POST", "/v1/networks", vec![b' '; 2 << 20]).await.0, 413);
    assert_eq!(raw.problem("GET", "/v1/nothing", "").await.0, 404);
    assert_eq!(raw.problem("PUT", "/v1/networks", "").await.0, 405);
    assert_eq!(raw.problem("GET", "/v1/networks/home", "").await.0, 404);
    assert_eq!(raw.problem("GET", "/v1/networks?limit=0", "").await.0, 422);
    for (query, field) in
        [("limit=x", "limit"), ("limit=1&limit=2", "limit"), ("nmae=home", "nmae"), ("state=well", "state")]
    {
        let (status, problem) = raw.problem("GET", &format!("/v1/networks?{query}"), "").await;
        assert_eq!((status, problem.faults[0].field.as_str()), (422, field), "{problem}");
    }

    let faults =
        raw.faults("/v1/networks", json!({"name": "x".repeat(70), "spec": {"subnet": "10.0.0.0/31", "mtu": 1}})).await;
    assert_eq!(faults.len(), 3, "{faults:?}");
    let faults = raw.faults("/v1/networks", json!({"name": "home", "spec": {"subnet": "10.80.1.0/24"}})).await;
    assert_eq!(faults, ["/spec/subnet"]);
    let client = installation.client("tester");
    let body = serde_json::from_value(json!({"name": "home", "spec": {"subnet": "10.9.0.0/24"}})).unwrap();
    client.create::<api::Network>(&body).await.unwrap();
    let faults = raw.faults("/v1/networks", json!({"name": "other", "spec": {"subnet": "10.9.0.0/16"}})).await;
    assert_eq!(faults, ["/spec/subnet"]);
    let (status, _) = raw.problem("POST", "/v1/networks", json!({"name": "home"}).to_string()).await;
    assert_eq!(status, 409);
    let faults = raw
        .faults(
            "/v1/instances",
            json!({"name": "a", "spec": {"network": "home", "image": "none", "address": "10.8.0.1"}}),
        )
        .await;
    assert_eq!(faults, ["/spec/address", "/spec/image"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_what_it_was_said_to_be_and_safe() {
    let installation = Installation::start().await;
    let raw = Raw::new(&installation, "tester");
    let client = installation.client("tester");
    let body = json!({"name": "tiny", "spec": {"sha256": "0".repeat(64)}});
    client.create::<api::Image>(&serde_json::from_value(body).unwrap()).await.unwrap();
    let (status, problem) = raw.problem("PUT", "/v1/images/tiny/content", "not what it should be").await;
    assert_eq!((status, problem.faults[0].field.as_str()), (422, "/spec/sha256"));
    assert_eq!(std::fs::read_dir(installation.file("data/images")).unwrap().count(), 0);

    let mut backed = vec![0; 4096];
    backed[..4].copy_from_slice(b"QFI\xfb");
    backed[7] = 3;
    backed[15] = 200;
    let sha256 = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(&backed));
    let body = json!({"name": "backed", "spec": {"sha256": sha256}});
    client.create::<api::Image>(&serde_json::from_value(body).unwrap()).await.unwrap();
    let (status, problem) = raw.problem("PUT", "/v1/images/backed/content", backed).await;
    assert!(status == 422 && problem.to_string().contains("backing file"), "{problem}");
}
