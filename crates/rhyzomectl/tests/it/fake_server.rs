//! A server that answers like the real one as far as the command can see: over TLS, with resources in memory, and with
//! operations that end at the second look.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use pki::{Alpn, Authority, ClientAuth, KeyedCertificate, ServerName, TlsAcceptor};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use types::{ImageId, InstanceId, NetworkId, OperationId, PeerId, TargetId};

const MOMENT: &str = "2026-11-18T11:06:40.123Z";
/// 42 bits of milliseconds come first in an id; this is `MOMENT`'s.
const BITS: u64 = 1_795_000_000_123 << 22;

/// Called with each peer that is let in: its public key and its address.
pub type LetIn = Box<dyn Fn(&str, &str) + Send + Sync>;

pub struct FakeServer {
    address: SocketAddr,
    ca: String,
    world: Shared,
    task: JoinHandle<()>,
}

type Shared = Arc<World>;

/// What the server knows, and what its routers are.
pub struct World {
    pub state: Mutex<Known>,
    /// The public key and endpoint of all WireGuard servers.
    wireguard: (String, String),
    let_in: LetIn,
}

#[derive(Default)]
pub struct Known {
    resources: BTreeMap<&'static str, Vec<Value>>,
    operations: Vec<Value>,
    looks: BTreeMap<String, u32>,
    count: u64,
    /// What arrived as the content of an image.
    pub content: Vec<u8>,
}

impl FakeServer {
    pub const TOKEN: &'static str = "a-token-of-the-test";

    pub async fn start() -> Self {
        let key = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=".to_owned();
        Self::with_router((key, "192.0.2.1:51820".to_owned()), Box::new(|_, _| {})).await
    }

    /// A server whose networks have one WireGuard server, which `let_in` tells of peers.
    pub async fn with_router(wireguard: (String, String), let_in: LetIn) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let now = time::OffsetDateTime::now_utc();
        let authority = Authority::init(&directory.path().join("ca"), now).unwrap();
        let issued = authority.issue_server(&[ServerName::try_from("127.0.0.1").unwrap()], now, 1).unwrap();
        let own = KeyedCertificate::from_pem(&issued.certificate_pem, &issued.key_pem).unwrap();
        let tls = pki::server_config(own, &ClientAuth::None, Alpn::Http1).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let world = Arc::new(World { state: Mutex::new(Known::default()), wireguard, let_in });
        let listener = Tls { tcp, acceptor: TlsAcceptor::from(tls) };
        let served = router(world.clone());
        let task = tokio::spawn(async move { axum::serve(listener, served).await.unwrap() });
        Self { address, ca: authority.certificate_pem().to_owned(), world, task }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn ca(&self) -> &str {
        &self.ca
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// Changes a resource behind everybody's back.
    pub fn observe(&self, kind: &'static str, name: &str, status: Value) {
        let mut state = self.world.state.lock().unwrap();
        let all = state.resources.get_mut(kind).unwrap();
        let resource = all.iter_mut().find(|resource| resource["name"] == name).unwrap();
        merge(&mut resource["status"], &status);
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = pki::server::TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (tcp, address) = self.tcp.accept().await.unwrap();
            if let Ok(tls) = self.acceptor.accept(tcp).await {
                return (tls, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

fn router(world: Shared) -> Router {
    Router::new()
        .route("/v1/events", get(events))
        .route("/v1/agents", get(agents))
        .route("/v1/operations", get(operations))
        .route("/v1/operations/{id}", get(operation))
        .route("/v1/images/{id}/content", put(content))
        .route("/v1/instances/{which}/restart", post(restart))
        .route("/v1/{kind}", get(list).post(create))
        .route("/v1/{kind}/{which}", get(show).patch(update).delete(delete))
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(sign_in))
        .with_state(world)
}

async fn sign_in(request: Request, next: Next) -> Response {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match token == Some(&format!("Bearer {}", FakeServer::TOKEN)) {
        true => next.run(request).await,
        false => problem(401, "unauthenticated", "the token is not known", json!([])),
    }
}

fn problem(status: u16, kind: &str, detail: &str, faults: Value) -> Response {
    let body = json!({
        "type": format!("urn:rhyzome:problem:{kind}"), "title": kind, "status": status, "detail": detail,
        "faults": faults,
    });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

fn not_found(what: &str) -> Response {
    problem(404, "not-found", &format!("there is no {what}"), json!([]))
}

impl Known {
    fn of(&mut self, kind: &str) -> &mut Vec<Value> {
        let kind = ["networks", "instances", "images", "peers"].into_iter().find(|known| *known == kind).unwrap();
        self.resources.entry(kind).or_default()
    }

    fn find(&mut self, kind: &str, which: &str) -> Option<&mut Value> {
        self.of(kind).iter_mut().find(|resource| resource["name"] == which || resource["id"] == which)
    }

    fn next_bits(&mut self) -> u64 {
        self.count += 1;
        BITS + self.count
    }

    /// An operation on a resource. One on a resource called `doomed` fails.
    fn begin(&mut self, action: String, resource: &Value) -> Value {
        let id = OperationId::from_bits(self.next_bits()).to_string();
        let operation = json!({
            "id": id, "tenant": "local", "action": action, "resource": resource["id"], "state": "running",
            "steps": [{"name": "router", "state": "running"}, {"name": "instance", "state": "pending"}],
            "reason": null, "created_at": MOMENT, "updated_at": MOMENT, "finished_at": null,
        });
        self.operations.push(operation);
        json!({ "resource": resource, "operation": id })
    }

    /// Somebody looks at a resource or an operation: at the second look, what was begun is done.
    fn look(&mut self, id: &str) {
        let looks = self.looks.entry(id.to_owned()).or_default();
        *looks += 1;
        if *looks < 2 {
            return;
        }
        let concerns = |operation: &&mut Value| operation["id"] == id || operation["resource"] == id;
        for operation in self.operations.iter_mut().filter(concerns) {
            let names: Vec<&Value> =
                self.resources.values().flatten().filter(|r| r["id"] == operation["resource"]).collect();
            if names.iter().any(|resource| resource["name"] == "doomed") {
                operation["state"] = json!("failed");
                operation["reason"] = json!("no hypervisor has room for it");
                operation["steps"][1] = json!({"name": "instance", "state": "failed", "reason": "no room"});
            } else {
                operation["state"] = json!("succeeded");
                operation["steps"][1]["state"] = json!("done");
            }
            operation["steps"][0]["state"] = json!("done");
            operation["finished_at"] = json!(MOMENT);
            let resource = operation["resource"].clone();
            for all in self.resources.values_mut() {
                all.retain(|r| !(r["id"] == resource && r["state"] == "deleting"));
                for found in all.iter_mut().filter(|r| r["id"] == resource) {
                    found["state"] = json!(if operation["state"] == "failed" { "failed" } else { "ready" });
                }
            }
        }
    }
}

/// A list, filtered as far as the command asks for it.
async fn list(
    State(world): State<Shared>,
    Path(kind): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let mut items = world.state.lock().unwrap().of(&kind).clone();
    for (parameter, value) in &query {
        items.retain(|item| match (parameter.as_str(), value.split_once(':')) {
            ("tag", Some((key, value))) => item["tags"][key] == value,
            ("name" | "state", _) => item[parameter] == *value,
            ("network" | "image", _) => item["spec"][parameter] == *value,
            _ => true,
        });
    }
    axum::Json(json!({ "items": items })).into_response()
}

async fn show(State(world): State<Shared>, Path((kind, which)): Path<(String, String)>) -> Response {
    let mut state = world.state.lock().unwrap();
    let Some(found) = state.find(&kind, &which) else {
        return not_found(&format!("{} {which}", kind.trim_end_matches('s')));
    };
    let id = found["id"].as_str().unwrap().to_owned();
    state.look(&id);
    axum::Json(state.find(&kind, &which).cloned().unwrap_or_default()).into_response()
}

async fn create(State(world): State<Shared>, Path(kind): Path<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut state = world.state.lock().unwrap();
    let name = body["name"].as_str().unwrap().to_owned();
    if state.find(&kind, &name).is_some() {
        return problem(409, "conflict", &format!("the name {name} is taken"), json!([]));
    }
    let bits = state.next_bits();
    let count = state.of(&kind).len() + 1;
    let (id, spec, status) = match kind.as_str() {
        "networks" => match network(&world, body["spec"].clone(), &name, count) {
            Ok((spec, status)) => (NetworkId::from_bits(bits).to_string(), spec, status),
            Err(refusal) => return *refusal,
        },
        "images" => (ImageId::from_bits(bits).to_string(), body["spec"].clone(), json!({ "received": 0 })),
        "instances" => {
            let (spec, status) = instance(&mut state, body["spec"].clone(), count);
            (InstanceId::from_bits(bits).to_string(), spec, status)
        }
        "peers" => {
            let spec = peer_spec(&mut state, body["spec"].clone());
            let status = peer(&world, &mut state, &spec, count);
            (PeerId::from_bits(bits).to_string(), spec, status)
        }
        other => panic!("no kind {other}"),
    };
    let resource = json!({
        "id": id, "tenant": "local", "name": name, "tags": body["tags"], "generation": 1, "spec": spec, "status": status,
        "state": "creating", "conditions": [], "created_at": MOMENT, "updated_at": MOMENT,
    });
    let accepted = state.begin(format!("{}.create", kind.trim_end_matches('s')), &resource);
    state.of(&kind).push(resource);
    (StatusCode::ACCEPTED, axum::Json(accepted)).into_response()
}

fn network(world: &World, mut spec: Value, name: &str, count: usize) -> Result<(Value, Value), Box<Response>> {
    if spec["mtu"].as_u64().unwrap() > 1500 {
        let faults = json!([
            {"field": "/spec/mtu", "detail": "the router takes 1500 at most"},
            {"field": "/spec/dhcp/range", "detail": "10.9.9.9 is not in the subnet"},
        ]);
        return Err(Box::new(problem(422, "invalid", "the network cannot be made like this", faults)));
    }
    if spec["subnet"].is_null() {
        spec["subnet"] = json!(format!("10.77.{count}.0/24"));
    }
    if spec["dns"]["domain"].is_null() {
        spec["dns"]["domain"] = json!(format!("{name}.internal"));
    }
    let (key, endpoint) = &world.wireguard;
    let router = TargetId::from_bits(BITS).to_string();
    Ok((spec, json!({ "router": router, "wireguard_public_key": key, "wireguard_endpoint": endpoint })))
}

fn instance(state: &mut Known, mut spec: Value, count: usize) -> (Value, Value) {
    for (field, kind) in [("network", "networks"), ("image", "images")] {
        let which = spec[field].as_str().unwrap().to_owned();
        spec[field] = state.find(kind, &which).map_or(json!(which), |found| found["id"].clone());
    }
    let address = match spec["address"].as_str() {
        Some(address) => address.to_owned(),
        None => format!("10.77.1.{}", count + 1),
    };
    (spec, json!({ "address": address, "mac": "52:54:00:00:00:01" }))
}

fn peer_spec(state: &mut Known, mut spec: Value) -> Value {
    for which in spec["networks"].as_array_mut().unwrap() {
        let name = which.as_str().unwrap().to_owned();
        *which = state.find("networks", &name).map_or(json!(name), |found| found["id"].clone());
    }
    spec
}

fn peer(world: &World, state: &mut Known, spec: &Value, count: usize) -> Value {
    let address = format!("10.64.0.{count}");
    (world.let_in)(spec["public_key"].as_str().unwrap(), &address);
    let mut networks = Vec::new();
    for id in spec["networks"].as_array().unwrap() {
        let Some(network) = state.find("networks", id.as_str().unwrap()) else { continue };
        networks.push(json!({
            "network": id, "name": network["name"], "subnet": network["spec"]["subnet"],
            "public_key": world.wireguard.0, "endpoint": world.wireguard.1,
        }));
    }
    json!({ "address": address, "networks": networks })
}

async fn update(State(world): State<Shared>, Path((kind, which)): Path<(String, String)>, body: Bytes) -> Response {
    let patch: Value = serde_json::from_slice(&body).unwrap();
    let mut state = world.state.lock().unwrap();
    let Some(found) = state.find(&kind, &which) else { return not_found(&which) };
    merge(found, &patch);
    found["state"] = json!("updating");
    found["generation"] = json!(found["generation"].as_u64().unwrap() + 1);
    let mut resource = found.clone();
    if kind == "peers" {
        let count = state.of("peers").iter().position(|peer| peer["id"] == resource["id"]).unwrap() + 1;
        resource["spec"] = peer_spec(&mut state, resource["spec"].clone());
        resource["status"] = peer(&world, &mut state, &resource["spec"], count);
        *state.find(&kind, resource["id"].as_str().unwrap()).unwrap() = resource.clone();
    }
    state.looks.remove(resource["id"].as_str().unwrap());
    let accepted = state.begin(format!("{}.update", kind.trim_end_matches('s')), &resource);
    (StatusCode::ACCEPTED, axum::Json(accepted)).into_response()
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.as_object_mut().unwrap().remove(key)),
            value => merge(&mut target[key], value),
        }
    }
}

async fn delete(State(world): State<Shared>, Path((kind, which)): Path<(String, String)>) -> Response {
    let mut state = world.state.lock().unwrap();
    let Some(found) = state.find(&kind, &which).cloned() else { return not_found(&which) };
    let id = found["id"].as_str().unwrap();
    let users: Vec<String> = state
        .resources
        .values()
        .flatten()
        .filter(|other| other["id"] != found["id"] && other["state"] != "deleting")
        .filter(|other| other["spec"].to_string().contains(id))
        .map(|other| other["name"].as_str().unwrap().to_owned())
        .collect();
    if !users.is_empty() {
        return problem(409, "in-use", &format!("{which} is used by {}", users.join(", ")), json!([]));
    }
    state.find(&kind, &which).unwrap()["state"] = json!("deleting");
    state.looks.remove(id);
    let resource = state.find(&kind, &which).cloned().unwrap();
    let accepted = state.begin(format!("{}.delete", kind.trim_end_matches('s')), &resource);
    (StatusCode::ACCEPTED, axum::Json(accepted)).into_response()
}

async fn restart(State(world): State<Shared>, Path(which): Path<String>) -> Response {
    let mut state = world.state.lock().unwrap();
    let Some(found) = state.find("instances", &which).cloned() else { return not_found(&which) };
    let accepted = state.begin("instance.restart".to_owned(), &found);
    (StatusCode::ACCEPTED, axum::Json(accepted)).into_response()
}

async fn content(State(world): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    let mut state = world.state.lock().unwrap();
    state.content = body.to_vec();
    let Some(found) = state.find("images", &id) else { return not_found(&id) };
    found["status"] = json!({ "received": body.len(), "file_size": body.len(), "virtual_size": 1 << 26 });
    axum::Json(found.clone()).into_response()
}

async fn operation(State(world): State<Shared>, Path(id): Path<String>) -> Response {
    let mut state = world.state.lock().unwrap();
    state.look(&id);
    match state.operations.iter().find(|operation| operation["id"] == id) {
        Some(operation) => axum::Json(operation.clone()).into_response(),
        None => not_found(&id),
    }
}

async fn operations(State(world): State<Shared>) -> Response {
    let items: Vec<Value> = world.state.lock().unwrap().operations.iter().rev().cloned().collect();
    axum::Json(json!({ "items": items })).into_response()
}

async fn agents() -> Response {
    let agent = json!({
        "id": "agt-1hcp2k7w8q3zd", "target": "tgt-1hcp2k7w8q3zd", "tenant": "local", "kind": "router", "name": "edge",
        "connected": true, "takes": "all", "last_seen_at": MOMENT, "software": "rhyzome-openwrt 0.1.0", "capacity": {},
        "pending_jobs": 0,
    });
    axum::Json(json!({ "items": [agent] })).into_response()
}

/// Events 1 to 4: each connection gets two and is broken off.
async fn events(headers: HeaderMap, Query(_): Query<BTreeMap<String, String>>) -> Response {
    let after = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
    let event = |sequence: u64| {
        let data = json!({
            "sequence": sequence, "at": MOMENT, "tenant": "local", "kind": "network",
            "resource": NetworkId::from_bits(BITS).to_string(), "name": "home", "change": "progressed",
            "state": "creating", "message": "the router has it",
        });
        format!("id: {sequence}\ndata: {data}\n\n")
    };
    let body: String = (after + 1..=4).take(2).map(event).collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}
