//! What bad input gets: one problem each, which names the field, and nothing is left of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Accepted, Image, Instance, Network, Peer, Problem};
use jobs::simulated::Simulated;
use serde_json::{Value, json};
use store::Store;

use crate::installation::{Installation, succeeded};

const KEY: &str = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";

/// How many rows each table has that holds something for a resource.
async fn rows(store: &Store) -> BTreeMap<&'static str, u64> {
    store.read().await.unwrap().census().await.unwrap()
}

/// A core with little of everything, and one thing of each kind in it.
async fn ground() -> Installation {
    let mut installation = Installation::start_with(|config| {
        config["pools"] = json!({"networks": "10.64.0.0/24", "peers": "10.80.0.0/30"});
    })
    .await;
    installation.agent("router", "router", &Arc::new(Simulated::router())).await;
    let client = installation.client("tester");
    for body in [
        json!({"name": "home", "spec": {"subnet": "10.9.0.0/24"}}),
        json!({"name": "last"}),
        json!({"name": "narrow", "spec": {"subnet": "10.10.0.0/30"}}),
    ] {
        let made = client.create::<Network>(&serde_json::from_value(body).unwrap()).await.unwrap();
        succeeded(&client, made.operation).await;
    }
    let body = json!({"name": "tiny", "spec": {"sha256": "0".repeat(64)}});
    client.create::<Image>(&serde_json::from_value(body).unwrap()).await.unwrap();
    let body = json!({"name": "web", "spec": {"network": "home", "image": "tiny", "address": "10.9.0.200"}});
    client.create::<Instance>(&serde_json::from_value(body).unwrap()).await.unwrap();
    installation
}

struct Sender {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Sender {
    async fn send(&self, path: &str, media: &str, body: Vec<u8>) -> Problem {
        let request = self.http.post(format!("{}/v1/{path}", self.base)).bearer_auth(&self.token);
        let response = request.header("content-type", media).body(body).send().await.unwrap();
        let (status, told) = (response.status(), response.headers()["content-type"].clone());
        let text = response.text().await.unwrap();
        assert_eq!(told, "application/problem+json", "{path}: {status} {text}");
        let problem: Problem = serde_json::from_str(&text).unwrap();
        assert_eq!(problem.status, status.as_u16());
        problem
    }
}

fn network(spec: Value) -> Value {
    json!({"name": "bad", "spec": spec})
}

fn instance(more: Value) -> Value {
    let mut spec = json!({"network": "home", "image": "tiny"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"name": "bad", "spec": spec})
}

fn peer(key: &str, networks: Value) -> Value {
    json!({"name": "bad", "spec": {"public_key": key, "networks": networks}})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_is_named_and_nothing_is_left() {
    let installation = ground().await;
    let http = reqwest::Client::builder().tls_backend_preconfigured(installation.tls()).build().unwrap();
    let token = std::fs::read_to_string(installation.file("tester")).unwrap().trim().to_owned();
    let sender = Sender { http, base: installation.url().to_owned(), token };
    let config = rhyzome::serve::read_config(Some(&installation.file("rhyzome.json"))).unwrap();
    let store = rhyzome::serve::open_store(&config).await.unwrap();
    let client = installation.client("tester");
    let before = rows(&store).await;

    let long = "x".repeat(70);
    let many_tags: serde_json::Map<String, Value> = (0..65).map(|n| (format!("t{n}"), json!("x"))).collect();
    for (path, body, status, field, told) in [
        ("networks", network(json!({"subnet": "10.9.0.0/16"})), 422, "/spec/subnet", "overlaps"),
        ("networks", network(json!({"subnet": "10.9.0.128/25"})), 422, "/spec/subnet", "overlaps"),
        ("networks", network(json!({"subnet": "10.80.0.0/24"})), 422, "/spec/subnet", "peers"),
        ("networks", network(json!({"subnet": "127.1.0.0/24"})), 422, "/spec/subnet", "loopback"),
        ("networks", network(json!({"subnet": "10.7.0.0/31"})), 422, "/spec/subnet", "/31"),
        ("networks", network(json!({"subnet": "10.7.0.1/24"})), 422, "/spec/subnet", "10.7.0.1/24"),
        ("networks", network(json!({"subnet": "fd00::/64"})), 422, "/spec/subnet", "fd00::/64"),
        ("networks", network(json!({"subnet": 7})), 422, "/spec/subnet", "integer"),
        (
            "networks",
            network(json!({"subnet": "10.7.0.0/24", "router_address": "10.8.0.1"})),
            422,
            "/spec/router_address",
            "10.8.0.1",
        ),
        ("networks", network(json!({"mtu": 1})), 422, "/spec/mtu", "576"),
        ("networks", network(json!({"mtu": -1})), 422, "/spec/mtu", ""),
        ("networks", network(json!({"mtu": 1e300})), 422, "/spec/mtu", ""),
        ("networks", network(json!({"mtu": u64::MAX})), 422, "/spec/mtu", ""),
        ("networks", network(json!({"dhcp": {"lease_seconds": 1}})), 422, "/spec/dhcp/lease_seconds", "120"),
        (
            "networks",
            network(json!({"subnet": "10.7.0.0/24", "dhcp": {"range": {"start": "10.7.0.9", "end": "10.7.0.2"}}})),
            422,
            "/spec/dhcp/range",
            "ends before",
        ),
        ("networks", network(json!({"dns": {"servers": ["10.0.0.1", "x"]}})), 422, "/spec/dns/servers/1", "\"x\""),
        ("networks", network(json!({"subnett": "10.7.0.0/24"})), 422, "/spec/subnett", "did you mean \"subnet\""),
        ("networks", json!({"name": "bad", "colour": "red"}), 422, "/colour", "known here"),
        ("networks", json!({"name": long}), 422, "/name", "63"),
        ("networks", json!({"name": "a\u{7}b"}), 422, "/name", ""),
        ("networks", json!({"name": "ä"}), 422, "/name", ""),
        ("networks", json!({"name": ""}), 422, "/name", ""),
        ("networks", json!({"name": "home"}), 409, "/name", "taken"),
        ("networks", json!({}), 422, "/name", "required"),
        ("networks", json!([]), 422, "", ""),
        ("networks", json!({"name": "bad", "tags": {"floor": "a\u{0}b"}}), 422, "/tags/floor", ""),
        ("networks", json!({"name": "bad", "tags": many_tags}), 422, "/tags", "64"),
        ("networks", json!({"name": "bad"}), 507, "", "subnet"),
        ("instances", instance(json!({"image": "none"})), 422, "/spec/image", "there is no image none"),
        ("instances", instance(json!({"network": "none"})), 422, "/spec/network", "there is no network none"),
        ("instances", instance(json!({"address": "10.8.0.1"})), 422, "/spec/address", "10.8.0.1"),
        ("instances", instance(json!({"address": "10.9.0.0"})), 422, "/spec/address", "10.9.0.0"),
        ("instances", instance(json!({"address": "10.9.0.1"})), 422, "/spec/address", "router"),
        ("instances", instance(json!({"address": "10.9.0.200"})), 422, "/spec/address", "taken"),
        ("instances", instance(json!({"ssh_keys": ["ssh-ed25519 nonsense"]})), 422, "/spec/ssh_keys/0", ""),
        ("instances", instance(json!({"vcpus": 0})), 422, "/spec/vcpus", ""),
        ("instances", instance(json!({"memory_mib": i64::MAX})), 422, "/spec/memory_mib", ""),
        ("instances", instance(json!({"disk_bytes": -1})), 422, "/spec/disk_bytes", ""),
        ("instances", instance(json!({"power": "on"})), 422, "/spec/power", "running"),
        (
            "instances",
            json!({"name": "bad", "spec": {"network": "home", "image": "tiny"}, "user_data": "x".repeat(70_000)}),
            422,
            "/user_data",
            "65536",
        ),
        ("instances", instance(json!({"network": "narrow"})), 507, "", "address"),
        ("peers", peer("nonsense", json!(["home"])), 422, "/spec/public_key", ""),
        ("peers", peer(KEY, json!([])), 422, "/spec/networks", "1 to 64"),
        ("peers", peer(KEY, json!(["home", "none"])), 422, "/spec/networks/1", "there is no network none"),
        ("peers", peer(KEY, json!(["home", "home"])), 422, "/spec/networks/1", "twice"),
        ("images", json!({"name": "bad", "spec": {"sha256": "x"}}), 422, "/spec/sha256", ""),
        (
            "images",
            json!({"name": "bad", "spec": {"sha256": "0".repeat(64), "url": "http://example.org/"}}),
            422,
            "/spec/url",
            "https",
        ),
    ] {
        let problem = sender.send(path, "application/json", body.to_string().into_bytes()).await;
        assert_eq!(problem.status, status, "{body}: {problem}");
        let fields: Vec<&str> = problem.faults.iter().map(|fault| fault.field.as_str()).collect();
        assert!(fields.iter().all(|found| *found == field), "{body}: {problem}");
        assert!(status == 507 || fields.len() == 1, "{body}: {problem}");
        assert!(problem.to_string().contains(told), "{body}: {problem}");
        assert!(field != "/spec/subnet" || !problem.to_string().contains("home"), "whose it is: {problem}");
        assert_eq!(rows(&store).await, before, "something is left of {body}");
    }

    let deep = format!("{{\"name\": {}1{}}}", "[".repeat(50_000), "]".repeat(50_000));
    for (media, body, status, told) in [
        ("application/json", b"{\"name\":".to_vec(), 400, "EOF"),
        ("application/json", Vec::new(), 400, "EOF"),
        ("application/json", b"{\"name\": \"a\"} {}".to_vec(), 400, "trailing"),
        ("application/json", b"{\"name\": \"\xff\"}".to_vec(), 400, "byte 10"),
        ("application/json", b"{\"name\": \"a\", \"name\": \"b\"}".to_vec(), 422, "/name: this field stands twice"),
        ("application/json", deep.into_bytes(), 400, "recursion"),
        ("application/json", vec![b' '; 10 << 20], 413, "bytes at most"),
        ("application/x-www-form-urlencoded", b"name=bad".to_vec(), 415, "application/json"),
        ("text/plain", b"{\"name\": \"bad\"}".to_vec(), 415, "application/json"),
    ] {
        let problem = sender.send("networks", media, body).await;
        assert_eq!(problem.status, status, "{problem}");
        assert!(problem.to_string().contains(told), "{problem}");
    }

    // The pool of peers has room for two at most.
    let mut last = None;
    for (number, key) in
        [KEY, "AAAA9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=", "BBBB9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="]
            .iter()
            .enumerate()
    {
        let body = json!({"name": format!("p{number}"), "spec": {"public_key": key, "networks": ["home"]}});
        let counted = rows(&store).await;
        let request = sender.http.post(format!("{}/v1/peers", sender.base)).bearer_auth(&sender.token);
        let response = request.body(body.to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        last = Some(status);
        match status {
            507 => assert_eq!(rows(&store).await, counted),
            // Its end, lest rows of its own come while others are counted.
            _ => {
                let accepted: Accepted<Peer> = response.json().await.unwrap();
                succeeded(&client, accepted.operation).await;
            }
        }
    }
    assert_eq!(last, Some(507));
}
