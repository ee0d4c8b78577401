use std::sync::Arc;
use std::time::Duration;

use jobs::{Context, ImageSource, Job, Object, Observation, Outcome, Report, Target, Want};
use rhyzome_openwrt::router::Router;
use rhyzome_openwrt::target::{Endpoint, RouterTarget};
use serde_json::{Value, json};
use types::{ResourceId, SecretText, Sha256Digest};
use ubus::Credentials;

use crate::fixture::{instance_id, key, network_id, network_json, peer_id, settings, version};
use crate::scripted_router::{INITIAL, ScriptedRouter};

struct NoImages;

#[async_trait::async_trait]
impl ImageSource for NoImages {
    async fn fetch(&self, _: Sha256Digest, _: &mut (dyn tokio::io::AsyncWrite + Send + Unpin)) -> anyhow::Result<()> {
        anyhow::bail!("a router needs no images")
    }
}

pub fn context() -> Context {
    Context { images: Arc::new(NoImages) }
}

struct Bench {
    router: Arc<ScriptedRouter>,
    target: RouterTarget,
    _lock: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let router = Arc::new(ScriptedRouter::new());
        let lock = tempfile::tempdir().unwrap();
        let transactions = ubus::Settings {
            verify: Duration::from_secs(2),
            pause: Duration::from_millis(10),
            ..ubus::Settings::new(lock.path().join("lock"))
        };
        let credentials = Credentials { username: "rhyzome".to_owned(), password: SecretText::new("x".to_owned()) };
        let ours = Router::new(router.clone(), credentials, transactions).unwrap();
        let endpoint = Endpoint { host: None, wan_interface: "wan".to_owned() };
        Self { router, target: RouterTarget::new(ours, settings(), endpoint), _lock: lock }
    }

    async fn apply(&self, jobs: Vec<Job>) -> Vec<Report> {
        self.target.apply(jobs, &context()).await
    }

    /// Applies one job that must succeed.
    async fn applied(&self, job: Job) -> Report {
        let report = self.apply(vec![job]).await.pop().unwrap();
        assert_eq!((report.outcome, report.reason.as_deref()), (Outcome::Applied, None));
        report
    }
}

pub fn wanted(slot: u16, json: &Value, revision: u64) -> Job {
    let want = Want::Desired(json.to_string());
    Job { object: Object::Network(network_id(slot)), version: version(revision), requires: Vec::new(), want }
}

pub fn gone(slot: u16, revision: u64) -> Job {
    let (object, version) = (Object::Network(network_id(slot)), version(revision));
    Job { object, version, requires: Vec::new(), want: Want::Gone }
}

pub fn with_peers(mut json: Value, peers: &[u8]) -> Value {
    for number in peers {
        let peer =
            json!({"name": format!("p{number}"), "public_key": key(*number), "address": format!("10.200.0.{number}")});
        json["peers"][peer_id(u16::from(*number)).to_string()] = peer;
    }
    json
}

pub fn with_lease(mut json: Value, number: u8, address: &str) -> Value {
    let mac = format!("52:54:00:00:00:{number:02x}");
    json["leases"][instance_id(u16::from(number)).to_string()] =
        json!({"name": format!("i{number}"), "mac": mac, "address": address});
    json
}

#[tokio::test]
async fn networks_come_and_go_and_leave_every_byte_as_it_was() {
    let bench = Bench::new();
    let reports = bench.apply(vec![wanted(1, &network_json(1), 1), wanted(2, &network_json(2), 1)]).await;
    assert!(reports.iter().all(|report| report.outcome == Outcome::Applied), "{reports:?}");
    assert_eq!(reports[0].status, Some(json!({"endpoint_host": "203.0.113.2"})));
    assert_eq!(bench.router.state().applies, 1, "one transaction for both");
    let held = bench.target.held().await.unwrap();
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|held| held.version == version(1)));

    bench.apply(vec![gone(1, 2), gone(2, 2)]).await;
    assert_eq!(bench.router.files(), INITIAL.map(|(_, text)| text.to_owned()));
    assert_eq!(bench.target.held().await.unwrap(), []);
    bench.applied(gone(1, 3)).await;
}

#[tokio::test]
async fn the_same_twice_changes_nothing() {
    let bench = Bench::new();
    let json = with_peers(network_json(1), &[7]);
    bench.applied(wanted(1, &json, 1)).await;
    bench.applied(wanted(1, &json, 1)).await;
    let state = bench.router.state();
    assert_eq!((state.applies, state.commands.len()), (1, 0));
}

#[tokio::test]
async fn peers_change_live_and_nobody_else_is_touched() {
    let bench = Bench::new();
    bench.applied(wanted(1, &with_peers(network_json(1), &[2, 3]), 1)).await;
    bench.applied(wanted(1, &with_peers(network_json(1), &[2, 4]), 2)).await;
    let state = bench.router.state();
    let (went, came) = (key(3), key(4));
    let expected = [
        format!("/usr/bin/wg set rz1w peer {went} remove"),
        format!("/usr/bin/wg set rz1w peer {came} allowed-ips 10.200.0.4/32"),
        "/sbin/ip -4 route del 10.200.0.3/32 dev rz1w table 10001".to_owned(),
        "/sbin/ip -4 route replace 10.200.0.4/32 dev rz1w table 10001".to_owned(),
    ];
    assert_eq!(state.commands, expected);
    assert_eq!(state.peers["rz1w"].len(), 2);
}

#[tokio::test]
async fn a_bad_entry_is_reported_and_its_siblings_are_there() {
    let bench = Bench::new();
    let json = with_lease(with_lease(network_json(1), 1, "10.77.1.101"), 2, "10.99.9.9");
    let report = bench.applied(wanted(1, &json, 1)).await;
    let entry = &report.entries[&ResourceId::Instance(instance_id(2))];
    assert_eq!(entry.outcome, Outcome::Refused);
    assert!(entry.reason.as_deref().unwrap().contains("10.77.1.0/24"));
    assert!(bench.router.files()[1].contains("10.77.1.101"));
}

#[tokio::test]
async fn a_lease_that_changed_replaces_the_old() {
    let bench = Bench::new();
    bench.applied(wanted(1, &with_lease(network_json(1), 1, "10.77.1.101"), 1)).await;
    bench.applied(wanted(1, &with_lease(network_json(1), 1, "10.77.1.102"), 2)).await;
    let dhcp = &bench.router.files()[1];
    assert!(dhcp.contains("10.77.1.102") && !dhcp.contains("10.77.1.101"), "{dhcp}");
}

#[tokio::test]
async fn one_bad_network_among_three_keeps_the_others_from_nothing() {
    let bench = Bench::new();
    bench.router.state().broken.insert("rz2".to_owned());
    let jobs = [1, 2, 3].map(|slot| wanted(slot, &network_json(slot), 1));
    let reports = bench.apply(jobs.into()).await;
    let outcomes: Vec<_> = reports.iter().map(|report| report.outcome).collect();
    assert_eq!(outcomes, [Outcome::Applied, Outcome::Retrying, Outcome::Applied]);
    assert!(reports[1].reason.as_deref().unwrap().contains("interface rz2 does not come up: NO_DEVICE"), "{reports:?}");
    let network = &bench.router.files()[0];
    assert!(network.contains("'rz1'") && !network.contains("'rz2'") && network.contains("'rz3'"), "{network}");
}

#[tokio::test]
async fn what_cannot_be_seen_working_is_taken_back() {
    let bench = Bench::new();
    bench.router.state().broken.insert("rz1w".to_owned());
    let reports = bench.apply(vec![wanted(1, &network_json(1), 1)]).await;
    assert_eq!(reports[0].outcome, Outcome::Retrying);
    assert_eq!(bench.router.files(), INITIAL.map(|(_, text)| text.to_owned()));
    bench.router.state().broken.clear();
    bench.applied(wanted(1, &network_json(1), 1)).await;
}

#[tokio::test]
async fn a_name_server_that_does_not_start_has_the_network_taken_back() {
    let bench = Bench::new();
    bench.router.state().silent.insert("rz1".to_owned());
    let reports = bench.apply(vec![wanted(1, &network_json(1), 1)]).await;
    assert_eq!(reports[0].outcome, Outcome::Retrying);
    assert!(reports[0].reason.as_deref().unwrap().contains("dnsmasq rz1 does not run"), "{reports:?}");
    assert_eq!(bench.router.files(), INITIAL.map(|(_, text)| text.to_owned()));
}

#[tokio::test]
async fn somebody_elses_pending_change_delays_ours() {
    let bench = Bench::new();
    bench.router.state().busy = true;
    let reports = bench.apply(vec![wanted(1, &network_json(1), 1), gone(2, 1)]).await;
    assert!(reports.iter().all(|report| report.outcome == Outcome::Retrying), "{reports:?}");
    assert_eq!(bench.router.state().applies, 0);
    bench.router.state().busy = false;
    bench.applied(wanted(1, &network_json(1), 1)).await;
}

#[tokio::test]
async fn a_router_that_is_away_is_tried_again() {
    let bench = Bench::new();
    bench.router.state().unreachable = true;
    let reports = bench.apply(vec![wanted(1, &network_json(1), 1)]).await;
    assert_eq!(reports[0].outcome, Outcome::Retrying);
    assert!(reports[0].reason.as_deref().unwrap().contains("no route to host"), "{reports:?}");
    assert!(bench.target.held().await.is_err());
}

#[tokio::test]
async fn drift_is_told_and_undone_and_others_sections_are_left() {
    let bench = Bench::new();
    bench.applied(wanted(1, &network_json(1), 1)).await;
    {
        let mut state = bench.router.state();
        let firewall = state.config.get_mut("firewall").unwrap();
        firewall.section_mut("rz1").unwrap().set("input", "ACCEPT").unwrap();
        firewall.add("rule", "mine").unwrap().set("name", "mine").unwrap();
    }
    assert!(bench.target.held().await.unwrap()[0].version < version(0), "the core sends it again");
    bench.applied(wanted(1, &network_json(1), 1)).await;
    let firewall = &bench.router.files()[2];
    assert!(!firewall.contains("input 'ACCEPT'") && firewall.contains("'mine'"), "{firewall}");
    assert_eq!(bench.target.held().await.unwrap()[0].version, version(1));
}

#[tokio::test]
async fn a_look_between_jobs_tells_the_endpoint_sets_peers_right_and_says_what_drifted() {
    let bench = Bench::new();
    bench.applied(wanted(1, &with_peers(network_json(1), &[2]), 1)).await;
    bench.router.state().peers.get_mut("rz1w").unwrap().clear();
    let (observer, mut observed) = jobs::Observer::channel(8);
    let seen = tokio::select! {
        () = bench.target.watch(observer) => panic!("it watches for as long as it lives"),
        seen = async { (observed.recv().await.unwrap(), observed.recv().await.unwrap()) } => seen,
    };
    let (Observation::Status(object, status), Observation::Held(held)) = seen else { panic!("{seen:?}") };
    assert_eq!((object, status), (Object::Network(network_id(1)), json!({"endpoint_host": "203.0.113.2"})));
    assert_eq!(held[0].version, version(1));
    assert_eq!(bench.router.state().peers["rz1w"].len(), 1, "it came back");
}

#[tokio::test]
async fn a_router_without_fw4_is_refused_and_left_alone() {
    for release in ["21.02.7", "19.07.10"] {
        let bench = Bench::new();
        bench.router.state().release = Some(release);
        let error = bench.target.held().await.unwrap_err().to_string();
        assert!(error.contains(release) && error.contains("expected 22.03 or later"), "{error}");
        let report = bench.apply(vec![wanted(1, &network_json(1), 1)]).await.pop().unwrap();
        assert_eq!((report.outcome, report.reason), (Outcome::Retrying, Some(error)));
        assert_eq!(bench.router.files(), INITIAL.map(|(_, text)| text.to_owned()));
        // The operator upgrades it.
        bench.router.state().release = Some("22.03.7");
        bench.applied(wanted(1, &network_json(1), 1)).await;
    }
}
