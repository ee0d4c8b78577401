//! Every operation of the document, called by those who may not: without a token, with another tenant's, and with one
//! that allows everything else.

use std::sync::Arc;

use api::{Image, Instance, Network, Peer};
use jobs::simulated::Simulated;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::installation::{Installation, succeeded};

/// What an operation of the document is about.
struct Entry {
    operation: &'static str,
    kind: &'static str,
    verb: &'static str,
    /// What another tenant gets who asks for ours.
    foreign: Foreign,
}

/// What becomes of somebody of another tenant.
#[derive(Clone, Copy, PartialEq)]
enum Foreign {
    /// Ours does not exist.
    Missing,
    /// The list is empty.
    Empty,
    /// A stream begins, without anything of ours.
    Stream,
    /// The body refers to ours, which does not exist.
    Refused,
    /// It is made: it is theirs.
    Made,
}

const fn entry(operation: &'static str, kind: &'static str, verb: &'static str, foreign: Foreign) -> Entry {
    Entry { operation, kind, verb, foreign }
}

const ENTRIES: [Entry; 25] = [
    entry("list_networks", "network", "read", Foreign::Empty),
    entry("create_network", "network", "create", Foreign::Refused),
    entry("get_network", "network", "read", Foreign::Missing),
    entry("update_network", "network", "update", Foreign::Missing),
    entry("delete_network", "network", "delete", Foreign::Missing),
    entry("list_instances", "instance", "read", Foreign::Empty),
    entry("create_instance", "instance", "create", Foreign::Refused),
    entry("get_instance", "instance", "read", Foreign::Missing),
    entry("update_instance", "instance", "update", Foreign::Missing),
    entry("delete_instance", "instance", "delete", Foreign::Missing),
    entry("restart_instance", "instance", "update", Foreign::Missing),
    entry("list_images", "image", "read", Foreign::Empty),
    entry("create_image", "image", "create", Foreign::Made),
    entry("get_image", "image", "read", Foreign::Missing),
    entry("update_image", "image", "update", Foreign::Missing),
    entry("delete_image", "image", "delete", Foreign::Missing),
    entry("put_image_content", "image", "create", Foreign::Missing),
    entry("list_peers", "peer", "read", Foreign::Empty),
    entry("create_peer", "peer", "create", Foreign::Refused),
    entry("get_peer", "peer", "read", Foreign::Missing),
    entry("update_peer", "peer", "update", Foreign::Missing),
    entry("delete_peer", "peer", "delete", Foreign::Missing),
    entry("list_operations", "operation", "read", Foreign::Empty),
    entry("get_operation", "operation", "read", Foreign::Missing),
    entry("follow_events", "event", "read", Foreign::Stream),
];

/// Seen by all tenants alike, or by none but the operator's.
const AGENTS: Entry = entry("list_agents", "agent", "read", Foreign::Empty);

const KINDS: [&str; 7] = ["network", "instance", "image", "peer", "operation", "event", "agent"];
const VERBS: [&str; 4] = ["read", "create", "update", "delete"];

/// One operation of the document with a request for it.
struct Call {
    entry: &'static Entry,
    method: Method,
    path: String,
    body: String,
    media: &'static str,
}

struct Ground {
    installation: Installation,
    http: reqwest::Client,
    /// Whatever must not be told to others.
    ours: Vec<String>,
    calls: Vec<Call>,
}

impl Ground {
    async fn make() -> Self {
        let mut installation = Installation::start().await;
        installation.agent("router", "router", &Arc::new(Simulated::router())).await;
        let client = installation.client("tester");
        let body = json!({"name": "hidden-net", "spec": {"subnet": "10.9.0.0/24"}});
        let network = client.create::<Network>(&serde_json::from_value(body).unwrap()).await.unwrap();
        succeeded(&client, network.operation).await;
        let body = json!({"name": "hidden-image", "spec": {"sha256": "0".repeat(64)}});
        let image = client.create::<Image>(&serde_json::from_value(body).unwrap()).await.unwrap();
        let body = json!({"name": "hidden-machine", "spec": {"network": "hidden-net", "image": "hidden-image"}});
        let instance = client.create::<Instance>(&serde_json::from_value(body).unwrap()).await.unwrap();
        let key = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";
        let body = json!({"name": "hidden-phone", "spec": {"public_key": key, "networks": ["hidden-net"]}});
        let peer = client.create::<Peer>(&serde_json::from_value(body).unwrap()).await.unwrap();
        succeeded(&client, peer.operation).await;

        let ids = [
            ("{network}", network.resource.id.to_string()),
            ("{image}", image.resource.id.to_string()),
            ("{instance}", instance.resource.id.to_string()),
            ("{peer}", peer.resource.id.to_string()),
            ("{operation}", network.operation.to_string()),
        ];
        let bodies = |operation: &str| match operation {
            // Overlaps ours; whose it is, is nobody's business.
            "create_network" => json!({"name": "theirs", "spec": {"subnet": "10.9.0.0/25"}}),
            "create_instance" => json!({"name": "theirs", "spec": {"network": ids[0].1, "image": ids[1].1}}),
            "create_peer" => json!({"name": "theirs", "spec": {"public_key": key, "networks": [ids[0].1]}}),
            "create_image" => json!({"name": "theirs", "spec": {"sha256": "0".repeat(64)}}),
            _ => json!({}),
        };
        let document: Value = serde_json::from_str(&rhyzome::openapi().unwrap()).unwrap();
        let mut calls = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                let entry = ENTRIES.iter().chain([&AGENTS]).find(|entry| entry.operation == id);
                let entry = entry.unwrap_or_else(|| panic!("{id} has no entry in this test"));
                let path = ids.iter().fold(path.clone(), |path, (name, id)| path.replace(name, id));
                let media = if id == "put_image_content" { "application/octet-stream" } else { "application/json" };
                let method = method.to_uppercase().parse().unwrap();
                calls.push(Call { entry, method, path, body: bodies(id).to_string(), media });
            }
        }
        assert_eq!(calls.len(), ENTRIES.len() + 1, "an entry has no operation any more");
        let mut ours: Vec<String> = ids.into_iter().map(|(_, id)| id).collect();
        ours.extend(["hidden-", "\"local\"", "10.9.0.0/24"].map(str::to_owned));
        let http = reqwest::Client::builder().tls_backend_preconfigured(installation.tls()).build().unwrap();
        Self { installation, http, ours, calls }
    }

    fn token(&self, name: &str) -> String {
        std::fs::read_to_string(self.installation.file(name)).unwrap().trim().to_owned()
    }

    /// Status and body; of a stream, no body.
    async fn call(&self, call: &Call, token: Option<&str>) -> (StatusCode, String) {
        let mut request = self.http.request(call.method.clone(), format!("{}{}", self.installation.url(), call.path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if call.method != Method::GET && call.method != Method::DELETE {
            request = request.header("content-type", call.media).body(call.body.clone());
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let is_stream = response.headers()["content-type"] == "text/event-stream";
        (status, if is_stream { String::new() } else { response.text().await.unwrap() })
    }

    /// Calls everything that `which` picks, and holds status and body against what is due.
    async fn all(&self, who: &str, token: Option<&str>, which: impl Fn(&Entry) -> bool, due: StatusCode) {
        for call in self.calls.iter().filter(|call| which(call.entry)) {
            let (status, body) = self.call(call, token).await;
            assert_eq!(status, due, "{who} at {} {}: {body}", call.method, call.path);
            // What they wrote themselves tells them nothing.
            let written = |ours: &str| call.path.contains(ours) || call.body.contains(ours);
            for ours in self.ours.iter().filter(|ours| !written(ours)) {
                assert!(!body.contains(ours), "{who} was told {ours} by {}: {body}", call.entry.operation);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_past_the_door() {
    let ground = Ground::make().await;
    ground.all("somebody without a token", None, |_| true, StatusCode::UNAUTHORIZED).await;
    for token in ["rzt_wrong", "", "rzt_ä", &"x".repeat(4096)] {
        ground.all("somebody with a made-up token", Some(token), |_| true, StatusCode::UNAUTHORIZED).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_allows_what_it_says_and_no_more() {
    let ground = Ground::make().await;
    for kind in KINDS {
        let others: Vec<String> =
            KINDS.iter().filter(|other| **other != kind).map(|other| format!("{other}:*")).collect();
        let scopes: Vec<&str> = others.iter().map(String::as_str).collect();
        ground.installation.token("local", &scopes, &format!("no-{kind}")).await;
        let token = ground.token(&format!("no-{kind}"));
        ground
            .all("somebody of all other kinds", Some(&token), |entry| entry.kind == kind, StatusCode::FORBIDDEN)
            .await;
    }
    for verb in VERBS {
        let others: Vec<String> =
            VERBS.iter().filter(|other| **other != verb).map(|other| format!("*:{other}")).collect();
        let scopes: Vec<&str> = others.iter().map(String::as_str).collect();
        ground.installation.token("local", &scopes, &format!("no-{verb}")).await;
        let token = ground.token(&format!("no-{verb}"));
        ground
            .all("somebody of all other verbs", Some(&token), |entry| entry.verb == verb, StatusCode::FORBIDDEN)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_tenant_ours_does_not_exist() {
    let ground = Ground::make().await;
    ground.installation.token("strangers", &["*:*"], "stranger").await;
    let token = ground.token("stranger");
    let stranger = Some(token.as_str());
    for (foreign, due) in [
        (Foreign::Missing, StatusCode::NOT_FOUND),
        (Foreign::Empty, StatusCode::OK),
        (Foreign::Stream, StatusCode::OK),
        (Foreign::Refused, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        ground.all("another tenant", stranger, |entry| entry.foreign == foreign, due).await;
    }
    for call in ground.calls.iter().filter(|call| call.entry.foreign == Foreign::Empty) {
        let (_, body) = ground.call(call, stranger).await;
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!({"items": []}), "{}", call.entry.operation);
    }
    // Ours takes no name away from theirs.
    let body = json!({"name": "hidden-image", "spec": {"sha256": "0".repeat(64)}});
    let client = ground.installation.client("stranger");
    client.create::<Image>(&serde_json::from_value(body).unwrap()).await.unwrap();
    ground.all("another tenant", stranger, |entry| entry.foreign == Foreign::Made, StatusCode::ACCEPTED).await;
}
