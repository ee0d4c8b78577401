//! Consul's catalog as a source, on a simulator with faults on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use diplonat::settings::ConsulSettings;
use diplonat::source::{Reading, consul};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    IndexBackwards,
    IndexZero,
    Truncated,
    Filtered,
    NoLeader,
    Stale,
    Forbidden,
    UnknownNode,
}

#[derive(Clone)]
struct World {
    services: BTreeMap<String, Vec<String>>,
    critical: Vec<String>,
    index: u64,
    fault: Fault,
}

struct Simulator {
    world: watch::Sender<World>,
    questions: Mutex<usize>,
}

type Shared = Arc<Simulator>;

impl Simulator {
    fn change(&self, change: impl FnOnce(&mut World)) {
        self.world.send_modify(|world| {
            world.index += 1;
            change(world);
        });
    }

    /// Waits as a blocking query does, and answers with the headers that Consul sends.
    async fn answer(&self, asked: &BTreeMap<String, String>, body: impl Fn(&World) -> Value) -> Response {
        let index: u64 = asked.get("index").and_then(|index| index.parse().ok()).unwrap_or_default();
        *self.questions.lock().unwrap() += 1;
        let mut changes = self.world.subscribe();
        let is_due = |world: &World| world.index > index || world.fault != Fault::None;
        let world = changes.wait_for(is_due).await.unwrap().clone();
        let told = match world.fault {
            Fault::IndexBackwards if index > 1 => 1,
            Fault::IndexZero => 0,
            _ => world.index,
        };
        let filtered = if world.fault == Fault::Filtered { "true" } else { "false" };
        let leader = if world.fault == Fault::Stale { "false" } else { "true" };
        let headers = [
            ("X-Consul-Index", told.to_string()),
            ("X-Consul-Results-Filtered-By-ACLs", filtered.into()),
            ("X-Consul-KnownLeader", leader.into()),
        ];
        let whole = body(&world).to_string();
        match world.fault {
            Fault::NoLeader => (StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader").into_response(),
            Fault::Forbidden => (StatusCode::FORBIDDEN, "Permission denied").into_response(),
            Fault::UnknownNode => (headers, Json(Value::Null)).into_response(),
            Fault::Truncated => (headers, whole[..whole.len() / 2].to_owned()).into_response(),
            // What is old, or but a part, must not be believed: it would say that there is nothing.
            Fault::Filtered | Fault::Stale => (headers, Json(json!({"Node": {}, "Services": {}}))).into_response(),
            _ => (headers, whole).into_response(),
        }
    }
}

async fn node(
    State(all): State<Shared>,
    Path(node): Path<String>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Response {
    let body = |world: &World| {
        let services: BTreeMap<_, _> =
            world.services.iter().map(|(id, tags)| (id, json!({"ID": id, "Service": id, "Tags": tags}))).collect();
        json!({"Node": {"Node": node}, "Services": services})
    };
    all.answer(&asked, body).await
}

async fn health(State(all): State<Shared>, Query(asked): Query<BTreeMap<String, String>>) -> Response {
    let body = |world: &World| {
        let checks = world.critical.iter().map(|id| json!({"ServiceID": id, "Status": "critical"}));
        checks.collect::<Vec<_>>().into()
    };
    all.answer(&asked, body).await
}

/// A simulator, and a source that follows it.
struct Scene {
    simulator: Shared,
    readings: watch::Receiver<Reading>,
    tasks: Vec<JoinHandle<()>>,
    settings: ConsulSettings,
}

impl Scene {
    async fn new() -> Self {
        pki::install_provider();
        let world = World { services: BTreeMap::new(), critical: Vec::new(), index: 10, fault: Fault::None };
        let simulator = Arc::new(Simulator { world: watch::Sender::new(world), questions: Mutex::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = ConsulSettings { url: Some(listener.local_addr().unwrap().to_string()), ..Default::default() };
        let router = Router::new()
            .route("/v1/catalog/node/{node}", get(node))
            .route("/v1/health/node/{node}", get(health))
            .with_state(simulator.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let (sender, readings) = watch::channel(Reading::default());
        let following = tokio::spawn(consul::follow(settings.clone(), "n1".into(), [].into(), sender));
        Self { simulator, readings, tasks: vec![serving, following], settings }
    }

    fn set(&self, ports: &[u16]) {
        let services = ports.iter().map(|port| (format!("s{port}"), vec![format!("(diplonat (tcp_port {port}))")]));
        let services: BTreeMap<_, _> = services.collect();
        self.simulator.change(|world| world.services = services);
    }

    async fn wait(&mut self, what: &str, is_good: impl Fn(&Reading) -> bool) -> Reading {
        let waited = timeout(PATIENCE, self.readings.wait_for(|reading| is_good(reading)))
            .await
            .map(|reading| reading.unwrap().clone());
        waited.unwrap_or_else(|_| panic!("{what} in vain: {:?}", self.readings.borrow()))
    }

    async fn wait_for_ports(&mut self, ports: &[u16]) {
        let what = format!("waited for {ports:?}");
        self.wait(&what, |reading| reading.trouble.is_none() && numbers(reading) == ports).await;
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn numbers(reading: &Reading) -> Vec<u16> {
    reading.wanted.iter().flat_map(|wanted| wanted.ports.keys()).map(|port| port.number.get()).collect()
}

#[tokio::test]
async fn changes_are_told_as_they_come() {
    let mut scene = Scene::new().await;
    scene.wait("a first reading", |reading| reading.wanted.is_some()).await;
    scene.set(&[80, 443]);
    scene.wait_for_ports(&[80, 443]).await;
    scene.simulator.change(|world| {
        world.services.insert("broken".into(), vec!["(diplonat (tcp_port 0))".into()]);
        world.services.insert("plain".into(), vec!["http".into()]);
    });
    let reading = scene
        .wait("a refused service", |reading| reading.wanted.as_ref().is_some_and(|wanted| !wanted.refused.is_empty()))
        .await;
    assert_eq!(numbers(&reading), [80, 443]);
    let once = consul::read(&scene.settings, "n1", &[].into()).await.unwrap();
    assert_eq!(Some(&once), reading.wanted.as_deref());
}

#[tokio::test]
async fn nothing_that_cannot_be_believed_drops_anything() {
    let mut scene = Scene::new().await;
    scene.set(&[80]);
    scene.wait_for_ports(&[80]).await;
    let faults =
        [Fault::Truncated, Fault::Filtered, Fault::NoLeader, Fault::Stale, Fault::Forbidden, Fault::UnknownNode];
    for fault in faults {
        scene.simulator.change(|world| (world.fault, world.services) = (fault, BTreeMap::new()));
        let reading = scene.wait(&format!("{fault:?} is told"), |reading| reading.trouble.is_some()).await;
        assert_eq!(numbers(&reading), [80], "{fault:?}");
        scene.simulator.change(|world| world.fault = Fault::None);
        scene.set(&[80]);
        scene.wait_for_ports(&[80]).await;
    }
}

#[tokio::test]
async fn an_index_that_goes_back_or_is_none_stops_nothing() {
    let mut scene = Scene::new().await;
    for (fault, port) in [(Fault::IndexBackwards, 1), (Fault::IndexZero, 2), (Fault::None, 3)] {
        scene.simulator.change(|world| world.fault = fault);
        scene.set(&[port]);
        scene.wait_for_ports(&[port]).await;
    }
    let questions = *scene.simulator.questions.lock().unwrap();
    assert!(questions < 100, "{questions} questions in a moment");
}

#[tokio::test]
async fn much_goes_only_after_a_second_reading() {
    let mut scene = Scene::new().await;
    scene.set(&[1, 2, 3, 4, 5]);
    scene.wait_for_ports(&[1, 2, 3, 4, 5]).await;
    scene.set(&[]);
    let doubted = scene.wait("a doubt", |reading| reading.trouble.is_some()).await;
    assert_eq!(numbers(&doubted).len(), 5);
    scene.wait_for_ports(&[]).await;
}

#[tokio::test]
async fn a_service_that_starts_out_critical_is_not_published() {
    let mut scene = Scene::new().await;
    scene.simulator.change(|world| world.critical = vec!["s80".into()]);
    scene.set(&[80, 443]);
    scene.wait_for_ports(&[443]).await;
}
