//! The transaction: all or nothing, whatever goes wrong.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use types::SecretText;
use ubus::{
    BoxError, Client, Credentials, Lock, Outcome, Settings, SettingsError, Step, Transaction, TransactionError,
    UbusError,
};
use uci::{Change, Config, DiffError, Package, PackageName, diff_owned};

use crate::rpcd::{Fault, PASSWORD, Rpcd, State};

const NETWORK: &str = "\nconfig interface 'lan'\n\toption proto 'static'\n\nconfig interface 'rz1'\n\toption proto 'static'\n\toption ipaddr '10.1.0.1'\n\tlist dns '1.1.1.1'\n\nconfig interface 'rz2'\n\toption proto 'none'\n\n";
const DHCP: &str = "\nconfig dnsmasq\n\toption domain 'lan'\n\n";
const WANTED: &str = "\nconfig interface 'rz1'\n\toption proto 'static'\n\toption ipaddr '10.9.0.1'\n\tlist dns '9.9.9.9'\n\tlist dns '8.8.8.8'\n\nconfig interface 'rz3'\n\toption proto 'none'\n\n";
const WANTED_DHCP: &str = "\nconfig dhcp 'rz1'\n\toption start '10'\n\n";

fn package(name: &str, text: &str) -> Package {
    Package::parse(PackageName::new(name).unwrap(), text).unwrap()
}

fn found() -> Config {
    [package("network", NETWORK), package("dhcp", DHCP)].into_iter().collect()
}

fn names() -> Vec<PackageName> {
    vec!["network".parse().unwrap(), "dhcp".parse().unwrap()]
}

/// Brings the sections whose names begin with rz to what is wanted.
fn plan(config: &Config) -> Result<Vec<Change>, DiffError> {
    let mut changes = Vec::new();
    for (name, text) in [("network", WANTED), ("dhcp", WANTED_DHCP)] {
        let owned = |section: &uci::Section| section.name().as_str().starts_with("rz");
        changes.extend(diff_owned(config.get(name).unwrap(), &package(name, text), owned)?);
    }
    Ok(changes)
}

/// What the plan makes of what is there.
fn planned(mut config: Config) -> Config {
    for change in plan(&config).unwrap() {
        uci::apply(config.get_mut(change.config.as_str()).unwrap(), &[change]).unwrap();
    }
    config
}

struct Bench {
    rpcd: Arc<Rpcd>,
    settings: Settings,
    _dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            lock_wait: Duration::from_millis(10),
            rollback: Duration::from_secs(30),
            verify: Duration::from_secs(20),
            ..Settings::new(dir.path().join("uci.lock"))
        };
        Self { rpcd: Arc::new(Rpcd::new(found())), settings, _dir: dir }
    }

    fn transaction(&self) -> Transaction {
        let password = SecretText::new(PASSWORD.to_owned());
        let credentials = Credentials { username: "root".to_owned(), password };
        let client = Client::new(Arc::clone(&self.rpcd) as Arc<dyn ubus::Ubus>, credentials);
        Transaction::new(Arc::new(client), self.settings.clone()).unwrap()
    }

    /// Runs the plan; its effect is seen when looked at for the third time.
    async fn run(&self) -> Result<Outcome, TransactionError> {
        let looks = AtomicUsize::new(0);
        let verify = || async {
            match looks.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Err("rz1 is not up".into()),
                _ => Ok(()),
            }
        };
        self.transaction().run(&names(), plan, verify).await
    }

    async fn run_with(&self, verify: impl AsyncLook) -> Result<Outcome, TransactionError> {
        self.transaction().run(&names(), plan, || verify.look()).await
    }

    fn lock(&self) -> PathBuf {
        self.settings.lock.clone()
    }

    fn assert_untouched(&self) {
        let state = self.rpcd.state();
        assert_eq!(state.committed, found());
        assert!(!state.is_anything_staged() && state.pending.is_none());
    }
}

trait AsyncLook {
    fn look(&self) -> impl Future<Output = Result<(), BoxError>>;
}

struct Never;

impl AsyncLook for Never {
    async fn look(&self) -> Result<(), BoxError> {
        Err("rz1 is not up".into())
    }
}

struct Hanging;

impl AsyncLook for Hanging {
    async fn look(&self) -> Result<(), BoxError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_planned_comes_about_and_is_confirmed() {
    let bench = Bench::new();
    assert_eq!(bench.run().await.unwrap(), Outcome::Confirmed);
    let state = bench.rpcd.state();
    assert_eq!(state.committed, planned(found()));
    assert!(state.pending.is_none() && state.sessions.is_empty());
    assert_eq!((state.calls("login"), state.calls("apply"), state.calls("confirm")), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_runs_in_a_task_of_its_own() {
    let bench = Bench::new();
    let transaction = bench.transaction();
    let task = tokio::spawn(async move { transaction.run(&names(), plan, || async { Ok(()) }).await });
    assert_eq!(task.await.unwrap().unwrap(), Outcome::Confirmed);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_staged_when_nothing_is_to_change() {
    let bench = Bench::new();
    bench.rpcd.state().committed = planned(found());
    assert_eq!(bench.run().await.unwrap(), Outcome::Unchanged);
    let state = bench.rpcd.state();
    assert_eq!(state.log, ["login", "changes", "revert", "get", "get", "destroy"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_any_call_leaves_all_or_nothing() {
    let bench = Bench::new();
    bench.run().await.unwrap();
    let calls = bench.rpcd.state().log.clone();
    assert!(calls.len() > 15, "{calls:?}");
    let (mut failed, mut survived) = (0, 0);
    for (number, method) in calls.iter().enumerate() {
        for fault in [Fault::RequestLost, Fault::ReplyLost, Fault::Garbled, Fault::Refused, Fault::Expired] {
            let bench = Bench::new();
            bench.rpcd.fail(number, fault);
            let result = bench.run().await;
            let state = bench.rpcd.state();
            let case = format!("{fault:?} at {method} ({number}): {result:?}");
            assert!(state.pending.is_none() && !state.is_anything_staged(), "{case}");
            match &result {
                Ok(outcome) => {
                    survived += 1;
                    assert_eq!(*outcome, Outcome::Confirmed, "{case}");
                    assert_eq!(state.committed, planned(found()), "{case}");
                }
                Err(TransactionError::NotUndone { .. }) => panic!("{case}"),
                Err(_) => {
                    failed += 1;
                    assert_eq!(state.committed, found(), "{case}");
                }
            }
        }
    }
    // Ending the session may fail, and a confirmation may get lost; nothing else goes unnoticed.
    assert!(failed > 60 && (5..12).contains(&survived), "{failed} {survived}");
}

#[tokio::test(start_paused = true)]
async fn after_two_failures_the_result_is_true_or_says_that_it_is_uncertain() {
    let bench = Bench::new();
    bench.run().await.unwrap();
    let apply = bench.rpcd.state().log.iter().position(|method| method == "apply").unwrap();
    let all = [Fault::RequestLost, Fault::ReplyLost, Fault::Garbled, Fault::Refused, Fault::Expired];
    let mut uncertain = 0;
    for (first, second) in (apply..apply + 4).flat_map(|first| (1..9).map(move |more| (first, first + more))) {
        for (one, other) in all.into_iter().flat_map(|one| all.map(|other| (one, other))) {
            let bench = Bench::new();
            bench.rpcd.fail(first, one);
            bench.rpcd.fail(second, other);
            let result = bench.run().await;
            tokio::time::sleep(bench.settings.rollback).await;
            let mut state = bench.rpcd.state();
            state.settle_due();
            let case = format!("{one:?} at {first}, {other:?} at {second}: {result:?}");
            match result {
                Ok(_) => assert_eq!(state.committed, planned(found()), "{case}"),
                Err(TransactionError::NotUndone { .. }) => {
                    uncertain += 1;
                    assert!(state.committed == found() || state.committed == planned(found()), "{case}");
                }
                Err(_) => assert_eq!(state.committed, found(), "{case}"),
            }
        }
    }
    assert!((1..100).contains(&uncertain), "{uncertain}");
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_is_not_seen_is_rolled_back() {
    let bench = Bench::new();
    let error = bench.run_with(Never).await.unwrap_err();
    let TransactionError::Unverified { waited, source } = &error else { panic!("{error:?}") };
    assert!(*waited <= Duration::from_secs(20) && *waited >= Duration::from_secs(19), "{waited:?}");
    assert_eq!(source.as_ref().unwrap().to_string(), "rz1 is not up");
    assert!(error.may_succeed_later());
    let (rollbacks, confirmations) = {
        let state = bench.rpcd.state();
        (state.calls("rollback"), state.calls("confirm"))
    };
    assert_eq!((rollbacks, confirmations), (1, 0));
    bench.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn a_look_that_hangs_is_rolled_back() {
    let bench = Bench::new();
    let error = bench.run_with(Hanging).await.unwrap_err();
    assert!(matches!(error, TransactionError::Unverified { source: None, .. }), "{error:?}");
    bench.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_pending_change_is_not_touched() {
    let bench = Bench::new();
    {
        let mut state = bench.rpcd.state();
        // The session that applied is given to whoever logs in as its user.
        let theirs = "f".repeat(32);
        state.sessions.insert(theirs.clone(), Default::default());
        state.pend(&theirs, Duration::from_secs(60));
    }
    let error = bench.run().await.unwrap_err();
    assert!(matches!(error, TransactionError::Busy) && error.may_succeed_later(), "{error:?}");
    let state = bench.rpcd.state();
    assert!(state.pending.is_some() && state.sessions.contains_key(&"f".repeat(32)));
    assert_eq!(state.log, ["login", "changes", "revert"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_applied_in_between_is_waited_for() {
    let bench = Bench::new();
    bench.rpcd.before("apply", |state| state.pend(&"f".repeat(32), Duration::from_secs(60)));
    let error = bench.run().await.unwrap_err();
    assert!(matches!(error, TransactionError::Busy), "{error:?}");
    let state = bench.rpcd.state();
    assert_eq!(state.committed, found());
    assert!(!state.is_anything_staged() && state.pending.is_some());
    assert_eq!(state.calls("rollback"), 0);
}

fn foreign(section: &str) -> Change {
    let values = [("proto".parse().unwrap(), "dhcp".into())].into_iter().collect();
    Change { config: "network".parse().unwrap(), edit: uci::Edit::Set { section: section.parse().unwrap(), values } }
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_commit_to_our_section_is_a_conflict() {
    for method in ["add", "apply"] {
        let bench = Bench::new();
        bench.rpcd.before(method, |state: &mut State| state.commit(&foreign("rz1")));
        let error = bench.run().await.unwrap_err();
        let TransactionError::Conflict { package, section } = &error else { panic!("{error:?}") };
        assert_eq!((package.as_str(), section.as_str()), ("network", "rz1"));
        let state = bench.rpcd.state();
        assert!(!state.is_anything_staged() && state.pending.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_commit_to_another_section_does_no_harm() {
    let bench = Bench::new();
    bench.rpcd.before("add", |state: &mut State| state.commit(&foreign("lan")));
    assert_eq!(bench.run().await.unwrap(), Outcome::Confirmed);
    let lan = bench.rpcd.state().committed.get("network").unwrap().section("lan").unwrap().clone();
    assert_eq!(lan.text("proto"), Some("dhcp"));
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_that_comes_too_late_is_an_error() {
    let bench = Bench::new();
    bench.rpcd.before("confirm", State::roll_back);
    let error = bench.run().await.unwrap_err();
    assert!(matches!(error, TransactionError::TakenBack), "{error:?}");
    bench.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn what_somebody_stages_in_our_session_is_noticed() {
    let bench = Bench::new();
    let stray = |state: &mut State| {
        let session = state.sessions.keys().next().unwrap().clone();
        state.stage(&session, foreign("lan"));
    };
    bench.rpcd.before("add", stray);
    let error = bench.run().await.unwrap_err();
    let TransactionError::NotAsAsked { package, .. } = &error else { panic!("{error:?}") };
    assert_eq!(package.as_str(), "network");
    bench.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn rights_are_checked_before_anything_is_done() {
    for (acls, expected) in [
        (json!({"ubus": {"uci": ["get", "changes"]}, "uci": {"*": ["read", "write"]}}), "call uci add"),
        (json!({"ubus": {"*": ["*"]}, "uci": {"network": ["read", "write"], "dhcp": ["read"]}}), "write package dhcp"),
        (json!({}), "call uci get"),
    ] {
        let bench = Bench::new();
        bench.rpcd.state().acls = acls;
        let error = bench.run().await.unwrap_err();
        assert!(!error.may_succeed_later());
        assert!(matches!(&error, TransactionError::Denied { what } if what == expected), "{error}");
        assert_eq!(bench.rpcd.state().log, ["login"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_fails_changes_nothing() {
    let bench = Bench::new();
    let refuse = |_: &Config| Err("no room");
    let error = bench.transaction().run(&names(), refuse, || async { Ok(()) }).await.unwrap_err();
    assert!(matches!(&error, TransactionError::Plan { source } if source.to_string() == "no room"), "{error:?}");
    let stray = |_: &Config| Ok::<_, DiffError>(vec![Change { config: "firewall".parse().unwrap(), ..foreign("lan") }]);
    let error = bench.transaction().run(&names(), stray, || async { Ok(()) }).await.unwrap_err();
    assert!(matches!(&error, TransactionError::Unread { package } if package.as_str() == "firewall"), "{error:?}");
    let missing = |_: &Config| Ok::<_, DiffError>(vec![foreign("nowhere")]);
    let error = bench.transaction().run(&names(), missing, || async { Ok(()) }).await.unwrap_err();
    assert!(matches!(&error, TransactionError::Plan { .. }), "{error:?}");
    assert_eq!(bench.rpcd.state().calls("set"), 0);
    assert!(bench.rpcd.state().sessions.is_empty());
    bench.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn a_package_that_is_not_there_is_an_error() {
    let bench = Bench::new();
    let packages = ["network".parse().unwrap(), "wireless".parse().unwrap()];
    let error = bench.transaction().run(&packages, plan, || async { Ok(()) }).await.unwrap_err();
    let TransactionError::Call { step: Step::Read, source } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "uci get: not found (4)");
}

#[tokio::test]
async fn one_program_at_a_time() {
    let bench = Bench::new();
    let held = Lock::take(&bench.lock(), Duration::ZERO).await.unwrap();
    let error = bench.run().await.unwrap_err();
    assert!(matches!(error, TransactionError::Lock(_)) && error.may_succeed_later(), "{error:?}");
    assert!(bench.rpcd.state().log.is_empty());
    drop(held);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let bench = Bench::new();
    let refused = |change: fn(&mut Settings)| {
        let mut settings = bench.settings.clone();
        change(&mut settings);
        let credentials = Credentials { username: "root".to_owned(), password: SecretText::new(String::new()) };
        let client = Client::new(Arc::clone(&bench.rpcd) as Arc<dyn ubus::Ubus>, credentials);
        Transaction::new(Arc::new(client), settings).err().unwrap()
    };
    let error = refused(|settings| settings.rollback = Duration::from_millis(1_500));
    assert_eq!(error.to_string(), "rollback is 1500 ms: expected whole seconds, at least one");
    assert!(matches!(refused(|settings| settings.rollback = Duration::ZERO), SettingsError::Rollback { .. }));
    let error = refused(|settings| settings.verify = Duration::from_secs(30));
    assert_eq!(error.to_string(), "verify is 30000 ms: expected less than rollback, 30000 ms");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_told() {
    let bench = Bench::new();
    let credentials = Credentials { username: "root".to_owned(), password: SecretText::new("wrong".to_owned()) };
    let client = Client::new(Arc::clone(&bench.rpcd) as Arc<dyn ubus::Ubus>, credentials);
    let transaction = Transaction::new(Arc::new(client), bench.settings.clone()).unwrap();
    let error = transaction.run(&names(), plan, || async { Ok(()) }).await.unwrap_err();
    let TransactionError::Call { step: Step::Login, source: UbusError::Login { username } } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(username, "root");
    assert!(!error.may_succeed_later());
}
