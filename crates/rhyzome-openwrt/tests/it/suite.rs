//! What every router must do for us, as far as it can be seen over ubus: a `rhyzome-router` of the test's own, or the
//! router that `RHYZOME_TEST_ROUTER` names. Each test has a slot of its own and leaves nothing behind.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use jobs::{Outcome, Report, Target};
use rhyzome_openwrt::configuration::Configuration;
use rhyzome_openwrt::diary::DRIFTED;
use rhyzome_openwrt::live_peers::show_peers;
use rhyzome_openwrt::names::Names;
use rhyzome_openwrt::router::Router;
use rhyzome_openwrt::target::RouterTarget;
use serde_json::{Value, json};
use types::Slot;
use ubus::Session;
use uci::Config;

use crate::fixture::{key, network_id, network_json, version};
use crate::real_router::{RealRouter, target};
use crate::target::{context, gone, wanted, with_lease, with_peers};

const URL: &str = "RHYZOME_TEST_ROUTER";
const CA: &str = "RHYZOME_TEST_ROUTER_CA";
const USER: &str = "RHYZOME_TEST_ROUTER_USER";
const PASSWORD_FILE: &str = "RHYZOME_TEST_ROUTER_PASSWORD_FILE";
/// How long anything may take on a router that may be slow and that other tests use, too.
const PATIENCE: Duration = Duration::from_secs(180);

/// A router, as the agent reaches it, and one slot on it.
struct Bench {
    target: RouterTarget,
    router: Router,
    slot: u16,
    before: Config,
    revision: u64,
    _own: Option<RealRouter>,
}

impl Bench {
    async fn new(slot: u16) -> Self {
        let own = std::env::var_os(URL).is_none().then(RealRouter::start);
        let configuration = match &own {
            Some(own) => own.configuration(),
            None => named(),
        };
        let parsed: Configuration =
            config::parse(&configuration.to_string(), std::path::Path::new("the environment")).unwrap();
        let (router, target) = (Router::configured(&parsed.router).unwrap(), target(&configuration));
        let before = router.config().await.unwrap();
        // A run that was killed may have left something.
        let mut bench = Self { target, router, slot, before, revision: 1_000, _own: own };
        bench.clear().await;
        bench.before = bench.router.config().await.unwrap();
        bench
    }

    async fn attempt(&self, network: Option<&Value>) -> Report {
        let job = match network {
            Some(network) => wanted(self.slot, network, self.revision),
            None => gone(self.slot, self.revision),
        };
        self.target.apply(vec![job], &context()).await.pop().unwrap()
    }

    /// Tries until it is applied.
    async fn bring(&mut self, network: Option<&Value>) {
        self.revision += 1;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.attempt(network).await;
            match report.outcome {
                Outcome::Applied => return,
                outcome => assert!(outcome == Outcome::Retrying && Instant::now() < deadline, "{report:?}"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn clear(&mut self) {
        self.bring(None).await;
    }

    /// Ends the test: what was there is there, and nothing else in its slot.
    async fn finish(mut self) {
        self.clear().await;
        let after = self.router.config().await.unwrap();
        assert_eq!(foreign(&after), foreign(&self.before), "the operator's own sections");
        assert_eq!(self.ours(&after), Vec::<String>::new());
    }

    /// The names of the sections in the slot.
    fn ours(&self, config: &Config) -> Vec<String> {
        let names = config.packages().flat_map(|package| package.sections()).map(|section| section.name().to_string());
        names.filter(|name| Names::owner(name) == Slot::try_from(self.slot).ok()).collect()
    }

    async fn session(&self) -> Session {
        self.router.session().await.unwrap()
    }
}

/// The sections that are nobody's of ours.
fn foreign(config: &Config) -> Vec<String> {
    let sections = config.packages().flat_map(|package| package.sections());
    sections.filter(|section| Names::owner(section.name().as_str()).is_none()).map(|s| format!("{s:?}")).collect()
}

/// The configuration for the router that the environment names.
fn named() -> Value {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{URL} is set; expected {name}, too"));
    json!({
        "agent": {"state_dir": "/nonexistent"},
        "router": {
            "url": variable(URL),
            "ca": PathBuf::from(variable(CA)),
            "username": std::env::var(USER).unwrap_or_else(|_| "rhyzome".to_owned()),
            "password_file": PathBuf::from(variable(PASSWORD_FILE)),
            "lock_file": std::env::temp_dir().join("rhyzome-test-router.lock"),
            "rollback_timeout_seconds": 20,
        },
        "segments": {"kind": "bridge"},
        "endpoint_host": "127.0.0.1",
    })
}

#[tokio::test]
async fn a_network_comes_changes_and_goes() {
    let mut bench = Bench::new(201).await;
    let network = with_peers(with_lease(network_json(201), 1, "10.77.201.101"), &[2]);
    bench.bring(Some(&network)).await;
    let dump = bench.router.dump().await.unwrap();
    assert!(dump.interface.iter().any(|interface| interface.interface == "rzc9" && interface.up), "{dump:?}");
    bench.bring(Some(&with_lease(network_json(201), 3, "10.77.201.103"))).await;
    let config = bench.router.config().await.unwrap();
    let dhcp = config.get("dhcp").unwrap().to_string();
    assert!(dhcp.contains("10.77.201.103") && !dhcp.contains("10.77.201.101"), "{dhcp}");
    bench.finish().await;
}

#[tokio::test]
async fn peers_come_and_go_while_it_runs() {
    let mut bench = Bench::new(202).await;
    for peers in [&[2][..], &[2, 3], &[3], &[]] {
        bench.bring(Some(&with_peers(network_json(202), peers))).await;
        let names = Names::of(Slot::try_from(202).unwrap());
        let shown = bench.router.run(&show_peers(names)).await.unwrap().stdout;
        for number in [2, 3] {
            assert_eq!(shown.contains(&key(number).to_string()), peers.contains(&number), "{peers:?}: {shown}");
        }
    }
    bench.finish().await;
}

#[tokio::test]
async fn what_was_cut_off_is_finished_by_the_next_try() {
    let mut bench = Bench::new(203).await;
    for (last, milliseconds) in (101..).zip([30, 100, 300, 900]) {
        let network = with_lease(network_json(203), 1, &format!("10.77.203.{last}"));
        // It may also have come to its end.
        drop(tokio::time::timeout(Duration::from_millis(milliseconds), bench.attempt(Some(&network))).await);
        bench.bring(Some(&network)).await;
        let config = bench.router.config().await.unwrap();
        assert!(config.get("dhcp").unwrap().to_string().contains(&format!("10.77.203.{last}")));
    }
    bench.finish().await;
}

#[tokio::test]
async fn somebody_elses_pending_apply_is_waited_for() {
    let mut bench = Bench::new(204).await;
    let other = bench.session().await;
    let note = json!({"config": "network", "type": "rhyzome", "name": "rzcc_note", "values": {"by": "somebody"}});
    other.call("uci", "add", note).await.unwrap();
    other.call("uci", "apply", json!({"rollback": true, "timeout": 8})).await.unwrap();
    let report = bench.attempt(Some(&network_json(204))).await;
    let reason = report.reason.unwrap_or_default();
    assert_eq!(report.outcome, Outcome::Retrying);
    assert!(reason.contains("another change on the router waits for its confirmation"), "{reason}");
    bench.bring(Some(&network_json(204))).await;
    let config = bench.router.config().await.unwrap();
    assert!(!bench.ours(&config).contains(&"rzcc_note".to_owned()), "it was not confirmed");
    other.destroy().await.unwrap();
    bench.finish().await;
}

#[tokio::test]
async fn what_somebody_does_to_our_sections_is_seen_and_undone() {
    let mut bench = Bench::new(205).await;
    let network = network_json(205);
    bench.bring(Some(&network)).await;
    let other = bench.session().await;
    other.call("uci", "set", json!({"config": "network", "section": "rzcd", "values": {"mtu": "1200"}})).await.unwrap();
    other.call("uci", "apply", json!({"rollback": true, "timeout": 20})).await.unwrap();
    other.call("uci", "confirm", json!({})).await.unwrap();
    other.destroy().await.unwrap();
    let held = bench.target.held().await.unwrap();
    let ours = held.iter().find(|held| held.object == jobs::Object::Network(network_id(205))).unwrap();
    assert_eq!(ours.version, DRIFTED);
    bench.bring(Some(&network)).await;
    let held = bench.target.held().await.unwrap();
    assert!(held.iter().any(|held| held.version == version(bench.revision)), "{held:?}");
    bench.finish().await;
}

/// The switch itself: this suite once more, against a router that was started apart from it.
#[test]
fn the_environment_names_another_router() {
    if std::env::var_os(URL).is_some() {
        return;
    }
    let router = RealRouter::start();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--test-threads=1", "suite::a_network", "suite::what_somebody"])
        .env(URL, format!("https://{}/ubus", router.address))
        .env(CA, router.path("ca/ca.pem"))
        .env(USER, "agent")
        .env(PASSWORD_FILE, router.path("password"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("2 passed"), "{said}");
}
