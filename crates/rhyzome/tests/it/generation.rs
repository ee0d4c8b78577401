//! Changes that name the generation they were made for: another's change in between is not written over.

use std::sync::Arc;

use api::{Accepted, Network, Problem};
use jobs::simulated::Simulated;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::installation::{Installation, named, succeeded};

struct Sender {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Sender {
    async fn send(&self, method: Method, if_match: Option<&str>, body: &Value) -> Response {
        let mut request = self.http.request(method, &self.url).bearer_auth(&self.token).body(body.to_string());
        if let Some(if_match) = if_match {
            request = request.header("if-match", if_match);
        }
        request.send().await.unwrap()
    }

    async fn tag(&self) -> String {
        let response = self.http.get(&self.url).bearer_auth(&self.token).send().await.unwrap();
        response.headers()["etag"].to_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_for_another_generation_is_refused_and_changes_nothing() {
    let mut installation = Installation::start().await;
    let router = Arc::new(Simulated::router());
    installation.agent("router", "router", &router).await;
    let client = installation.client("tester");
    let body = serde_json::from_value(json!({"name": "home"})).unwrap();
    succeeded(&client, client.create::<Network>(&body).await.unwrap().operation).await;
    let http = reqwest::Client::builder().tls_backend_preconfigured(installation.tls()).build().unwrap();
    let token = std::fs::read_to_string(installation.file("tester")).unwrap().trim().to_owned();
    let sender = Sender { http, url: format!("{}/v1/networks/home", installation.url()), token };

    let read = sender.tag().await;
    let response = sender.send(Method::PATCH, Some(&read), &json!({"spec": {"mtu": 1400}})).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let accepted: Accepted<Network> = response.json().await.unwrap();
    succeeded(&client, accepted.operation).await;

    let newer = sender.tag().await;
    assert_ne!(newer, read, "what was asked changed");
    for (method, stale) in [
        (Method::PATCH, read.clone()),
        (Method::PATCH, format!("W/{newer}")),
        (Method::PATCH, newer.trim_matches('"').to_owned()),
        (Method::PATCH, format!("{read}, \"99\"")),
        (Method::DELETE, read.clone()),
    ] {
        let response = sender.send(method.clone(), Some(&stale), &json!({"spec": {"mtu": 1300}})).await;
        let problem: Problem = response.json().await.unwrap();
        assert!(problem.status == 412 && problem.kind.ends_with(":outdated"), "{method} {stale}: {problem}");
    }
    // What a target says is no change of what was asked.
    let home: Network = client.get(&named::<Network>("home")).await.unwrap();
    assert_eq!((home.spec.mtu.get(), sender.tag().await), (1400, newer.clone()));

    for (right, mtu) in [(format!("{read}, {newer}"), 1390), ("*".to_owned(), 1380)] {
        let response = sender.send(Method::PATCH, Some(&right), &json!({"spec": {"mtu": mtu}})).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{right}");
        succeeded(&client, response.json::<Accepted<Network>>().await.unwrap().operation).await;
        assert_ne!(sender.tag().await, newer);
    }
    let newest = sender.tag().await;
    let response = sender.send(Method::DELETE, Some(&newest), &Value::Null).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
}
