//! Requests that come twice.

use std::sync::Arc;

use api::{Accepted, Network, Problem};
use jobs::simulated::Simulated;
use reqwest::{Method, Response};
use serde_json::json;

use crate::installation::{Installation, succeeded};

struct Sender {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Sender {
    fn new(installation: &Installation, token: &str) -> Self {
        let http = reqwest::Client::builder().tls_backend_preconfigured(installation.tls()).build().unwrap();
        let token = std::fs::read_to_string(installation.file(token)).unwrap().trim().to_owned();
        Self { http, base: installation.url().to_owned(), token }
    }

    async fn send(&self, method: Method, path: &str, key: &str, body: String) -> Response {
        let request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        request.header("idempotency-key", key).body(body).send().await.unwrap()
    }
}

fn is_replayed(response: &Response) -> bool {
    response.headers().get("idempotency-replayed").is_some_and(|value| value == "true")
}

async fn problem(response: Response) -> (u16, String) {
    let problem: Problem = response.json().await.unwrap();
    (problem.status, problem.kind.rsplit(':').next().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_done_once_and_answered_alike() {
    let mut installation = Installation::start().await;
    installation.agent("router", "router", &Arc::new(Simulated::router())).await;
    let (sender, client) = (Sender::new(&installation, "tester"), installation.client("tester"));
    let body = json!({"name": "home"}).to_string();

    // All at once: one of them makes it.
    let asked = (0..8).map(|_| sender.send(Method::POST, "/v1/networks", "first", body.clone()));
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    let mut bodies = Vec::new();
    for answer in answers {
        assert_eq!(answer.status(), 202);
        let place = answer.headers()["location"].to_str().unwrap().to_owned();
        bodies.push((place, answer.text().await.unwrap()));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let made: Accepted<Network> = serde_json::from_str(&bodies[0].1).unwrap();
    assert_eq!(bodies[0].0, format!("/v1/operations/{}", made.operation));
    succeeded(&client, made.operation).await;
    assert_eq!(client.list::<Network>().await.unwrap().len(), 1);

    // The key belongs to that request.
    let other = sender.send(Method::POST, "/v1/networks", "first", json!({"name": "work"}).to_string()).await;
    assert_eq!(problem(other).await, (422, "idempotency-key-reused".to_owned()));
    let elsewhere = sender.send(Method::DELETE, "/v1/networks/home", "first", String::new()).await;
    assert_eq!(problem(elsewhere).await, (422, "idempotency-key-reused".to_owned()));
    let no_key = sender.send(Method::POST, "/v1/networks", &"x".repeat(256), body.clone()).await;
    assert_eq!(problem(no_key).await, (422, "invalid".to_owned()));

    // And to its caller.
    installation.token("local", &["*:*"], "colleague").await;
    let colleague = Sender::new(&installation, "colleague");
    let taken = colleague.send(Method::POST, "/v1/networks", "first", body.clone()).await;
    assert_eq!(problem(taken).await, (409, "conflict".to_owned()), "the name is taken, and no answer is another's");

    // A refusal is not kept: the request may be right later.
    let early = sender.send(Method::PATCH, "/v1/networks/work", "early", "{\"tags\": {\"a\": \"b\"}}".to_owned()).await;
    assert_eq!(problem(early).await.0, 404);
    let work = sender.send(Method::POST, "/v1/networks", "second", json!({"name": "work"}).to_string()).await;
    let work: Accepted<Network> = work.json().await.unwrap();
    succeeded(&client, work.operation).await;
    for replayed in [false, true] {
        let body = "{\"tags\": {\"a\": \"b\"}}".to_owned();
        let patched = sender.send(Method::PATCH, "/v1/networks/work", "early", body).await;
        assert_eq!((patched.status().as_u16(), is_replayed(&patched)), (202, replayed));
    }

    // The answer outlives the core and the thing itself.
    installation.kill_core().await;
    installation.start_core().await;
    for replayed in [false, true] {
        let gone = sender.send(Method::DELETE, "/v1/networks/home", "last", String::new()).await;
        assert_eq!((gone.status().as_u16(), is_replayed(&gone)), (202, replayed));
        let gone: Accepted<Network> = gone.json().await.unwrap();
        succeeded(&client, gone.operation).await;
    }
    let again = sender.send(Method::POST, "/v1/networks", "first", body).await;
    assert_eq!((is_replayed(&again), again.text().await.unwrap()), (true, bodies[0].1.clone()));
}
