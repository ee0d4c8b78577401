//! Routers that misbehave: each time one clear error, nothing half done on the router, and all as asked once it is well.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use jobs::{Outcome, Report, Target};
use pki::{Authority, SERVER_DAYS, ServerName};
use serde_json::json;
use time::OffsetDateTime;

use crate::fixture::network_json;
use crate::real_router::{PATIENCE, RealRouter, Transport, eventually, target};
use crate::target::{context, gone, wanted, with_lease};

/// Tries once; gives the report.
async fn attempt(router: &RealRouter, revision: u64) -> Report {
    let job = wanted(1, &with_lease(network_json(1), 1, "10.77.1.101"), revision);
    router.target.apply(vec![job], &context()).await.pop().unwrap()
}

/// Tries until it is applied, as the agent does.
async fn insist(router: &RealRouter, revision: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = attempt(router, revision).await;
        match report.outcome {
            Outcome::Applied => return,
            outcome => assert!(outcome == Outcome::Retrying && Instant::now() < deadline, "{report:?}"),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn clear(router: &RealRouter, revision: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = router.target.apply(vec![gone(1, revision)], &context()).await.pop().unwrap();
        if report.outcome == Outcome::Applied {
            return;
        }
        assert!(Instant::now() < deadline, "{report:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn each_fault_is_one_clear_error_and_leaves_nothing_half_done() {
    let router = RealRouter::start();
    let before = router.files();
    let garbage = "the answer is not as expected";
    for (fault, complaint) in [
        ("*=drop", "no answer from the router"),
        ("*=html", garbage),
        ("*=half", garbage),
        ("*=types", garbage),
        ("*=500", "the web server answers 500, expected 200"),
        ("*=huge", "the answer has more than"),
        ("*=hang", "no answer within 3000 ms"),
        ("uci.add#2=html", garbage),
        ("uci.add#3=restart-rpcd", "access denied, or the session has expired"),
        ("uci.apply=full", "uci apply: unknown error"),
        ("uci.apply=hang", "no answer within 3000 ms"),
        ("uci.apply=lose", "no answer from the router"),
        ("uci.confirm=500", "the web server answers 500, expected 200"),
    ] {
        router.faults(fault);
        let report = attempt(&router, 1).await;
        let reason = report.reason.unwrap_or_default();
        assert!(report.outcome == Outcome::Retrying && reason.contains(complaint), "{fault}: {reason}");
        router.faults("");
        eventually("the router to be as it was", || match router.files() == before {
            true => Ok(()),
            false => Err(format!("{fault}: {:?}", router.files())),
        });
    }
    insist(&router, 1).await;
    clear(&router, 2).await;
    assert_eq!(router.files(), before);
}

#[tokio::test]
async fn cut_off_at_any_call_the_old_or_the_new_is_there_in_full_and_the_next_try_gets_the_new() {
    let router = RealRouter::start();
    let before = router.files();
    insist(&router, 1).await;
    let after = router.files();
    clear(&router, 2).await;
    let mut revision = 2;
    for number in 1.. {
        revision += 1;
        let struck = router.struck();
        router.faults(&format!("*#{number}=drop"));
        attempt(&router, revision).await;
        let was_struck = router.struck() > struck;
        router.faults("");
        let same = |files: Vec<String>| {
            // The version in the mark differs from try to try, and the digest does not count it.
            let bare = |text: &String| text.lines().filter(|l| !l.contains("rz_version")).map(str::to_owned).collect();
            files.iter().map(bare).collect::<Vec<Vec<String>>>()
        };
        let states = [same(before.clone()), same(after.clone())];
        eventually("all or nothing", || {
            let found = same(router.files());
            states.contains(&found).then_some(()).ok_or_else(|| format!("call {number}: {found:?}"))
        });
        insist(&router, revision).await;
        assert_eq!(same(router.files()), states[1], "call {number}");
        revision += 1;
        clear(&router, revision).await;
        assert_eq!(router.files(), before, "call {number}");
        if !was_struck {
            assert!(number > 15, "the change takes more calls than {number}");
            break;
        }
    }
}

#[tokio::test]
async fn an_agent_that_is_gone_in_the_middle_of_an_apply_leaves_the_router_as_it_was() {
    let router = RealRouter::start();
    let before = router.files();
    // The agent waits for the confirmation, and is killed.
    router.faults("uci.confirm=hang");
    let cut = tokio::time::timeout(Duration::from_secs(2), attempt(&router, 1)).await;
    assert!(cut.is_err(), "it was to be in the middle of it: {cut:?}");
    assert_ne!(router.files(), before, "it was applied");
    router.faults("");
    eventually("the rollback", || (router.files() == before).then_some(()).ok_or_else(|| "not yet".to_owned()));
    insist(&router, 1).await;
    assert_ne!(router.files(), before);
}

#[tokio::test]
async fn a_router_that_goes_off_in_the_middle_of_an_apply_gets_what_was_asked_when_it_is_back() {
    let mut router = RealRouter::start();
    for fault in ["uci.apply=power-off", "uci.confirm=power-off"] {
        router.faults(fault);
        let report = attempt(&router, 1).await;
        assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
        let held = router.target.held().await.unwrap_err();
        assert!(format!("{held:#}").contains("no answer from the router"), "{held:#}");
        router.faults("");
        router.switch_on();
        insist(&router, 1).await;
        clear(&router, 2).await;
    }
}

#[tokio::test]
async fn certificates_that_are_not_right_are_told_apart() {
    let router = RealRouter::start();
    let now = OffsetDateTime::now_utc();
    let file = |name: &str| router.path(name);
    let long_ago = now - time::Duration::days(800);
    let expired = Authority::init(&file("old"), long_ago).unwrap();
    let name = [ServerName::try_from("127.0.0.1").unwrap()];
    let issued = expired.issue_server(&name, long_ago, SERVER_DAYS).unwrap();
    Authority::init(&file("other"), now).unwrap();
    let configuration = |url: String, ca: &str| {
        json!({
            "agent": {"state_dir": file("agent")},
            "router": {"url": url, "ca": file(ca), "username": "agent", "password_file": file("password"),
                "lock_file": file("lock"), "call_timeout_seconds": 3},
            "segments": {"kind": "bridge"},
        })
    };
    let port = router.address.rsplit(':').next().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stale = stale_server(&issued, &file("stale"));
    for (url, ca, complaint) in [
        (format!("https://{}/ubus", router.address), "other/ca.pem", "another CA has signed it"),
        (format!("https://localhost:{port}/ubus"), "ca/ca.pem", "it is for another name"),
        (format!("https://{stale}/ubus"), "old/ca.pem", "it has expired"),
        (format!("https://{closed}/ubus"), "ca/ca.pem", "no answer from the router"),
        ("https://router.invalid/ubus".to_owned(), "ca/ca.pem", "no answer from the router"),
        ("https://203.0.113.77/ubus".to_owned(), "ca/ca.pem", "no answer"),
        (format!("ubus://{}", file("no.sock").display()), "ca/ca.pem", "no answer from the router"),
    ] {
        let error = target(&configuration(url.clone(), ca)).held().await.unwrap_err();
        assert!(format!("{error:#}").contains(complaint), "{url}: {error:#}");
    }
    config::file::write_private(&file("password"), b"wrong").unwrap();
    let refused = target(&configuration(format!("https://{}/ubus", router.address), "ca/ca.pem"));
    let error = refused.held().await.unwrap_err();
    assert!(format!("{error:#}").contains("login of \"agent\" refused"), "{error:#}");
}

/// Something that shows a certificate and says no more.
fn stale_server(issued: &pki::IssuedServer, folder: &Path) -> std::net::SocketAddr {
    std::fs::create_dir(folder).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    issued.write(&cert, &key).unwrap();
    let keyed = pki::KeyedCertificate::load(&config::Tls { ca: None, cert, key }).unwrap();
    let tls = pki::server_config(keyed, &pki::ClientAuth::None, pki::Alpn::Http1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    tokio::spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let _ = pki::TlsAcceptor::from(tls.clone()).accept(stream).await;
        }
    });
    address
}

#[tokio::test]
async fn what_the_access_list_lacks_is_named() {
    let router = RealRouter::start();
    let whole = include_str!("../../acl/rhyzome.json");
    let before = router.files();
    for (right, without, complaint) in [
        ("\"confirm\", ", "", "call uci confirm"),
        ("\"board\", ", "", "may not call system board"),
        ("\"uci\": [ \"network\", \"dhcp\", \"firewall\" ]", "\"uci\": [ \"network\", \"dhcp\" ]", "package firewall"),
        (
            "/usr/bin/wg show rz* allowed-ips",
            "/usr/bin/wg show nothing",
            "may not run /usr/bin/wg show rz1w allowed-ips",
        ),
    ] {
        let list = whole.replace(right, without);
        assert_ne!(list, whole, "{right}");
        std::fs::write(router.path("router/acl.d/rhyzome.json"), list).unwrap();
        // Rights are those of the login.
        router.faults("system.board#1=restart-rpcd");
        let held = router.target.held().await.err().map(|error| format!("{error:#}")).unwrap_or_default();
        router.faults("");
        let reason = held + &attempt(&router, 1).await.reason.unwrap_or_default();
        assert!(reason.contains(complaint), "{right}: {reason}");
        std::fs::write(router.path("router/acl.d/rhyzome.json"), whole).unwrap();
        router.faults("system.board#1=restart-rpcd");
        let _ = router.target.held().await;
        router.faults("");
        clear(&router, 1).await;
        assert_eq!(router.files(), before, "{right}");
    }
}

#[tokio::test]
async fn the_agent_on_the_router_itself_works_over_the_local_socket() {
    let router = RealRouter::reached(Transport::Local);
    let before = router.files();
    insist(&router, 1).await;
    let held = router.target.held().await.unwrap();
    assert_eq!(held.len(), 1);
    clear(&router, 2).await;
    assert_eq!(router.files(), before);
}
