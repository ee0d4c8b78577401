//! What is secret is said in no log, however much is logged.

use std::io;
use std::sync::{Arc, Mutex};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use jobs::simulated::Simulated;
use jobs::{Invitation, Object};
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

use crate::installation::{Installation, named, succeeded};
use crate::lifecycle::{network, upload};

/// A log in memory.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const USER_DATA: &str = "#!/bin/sh\necho a-word-that-nobody-else-says\n";

#[tokio::test(flavor = "multi_thread")]
async fn no_log_has_a_secret_in_it_even_at_trace() {
    // The agents run in this process, the core in its own.
    let ours = Captured::default();
    let writer = ours.clone();
    tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(move || writer.clone()).init();
    let mut installation = Installation::prepare().await;
    installation.environment("RHYZOME_LOG", "trace");
    let token = installation.token("local", &["*:*"], "tester").await;
    installation.start_core().await;
    let (router, hypervisor) = (Arc::new(Simulated::router()), Arc::new(Simulated::hypervisor()));
    installation.agent("router", "router", &router).await;
    installation.agent("hypervisor", "host", &hypervisor).await;
    let client = installation.client("tester");
    let home = network(&client, "home").await;
    upload(&client, "tiny").await;
    let body = json!({"name": "hello", "spec": {"network": "home", "image": "tiny"}, "user_data": USER_DATA});
    let accepted = client.create::<api::Instance>(&serde_json::from_value(body).unwrap()).await.unwrap();
    succeeded(&client, accepted.operation).await;
    let hello: api::Instance = client.get(&named::<api::Instance>("hello")).await.unwrap();

    let desired = |target: &Simulated, object: Object| -> Value {
        serde_json::from_str(&target.state().objects[&object].1).unwrap()
    };
    let wireguard = desired(&router, Object::Network(home.id))["wireguard"]["private_key"]["value"].clone();
    let host_key = desired(&hypervisor, Object::Instance(hello.id))["host_key"]["value"].clone();
    let invitation = std::fs::read_to_string(installation.file("router.invitation")).unwrap();
    let parsed: Invitation = invitation.parse().unwrap();
    // The second line of a key's PEM, which says what is in it.
    let inside = |pem: &str| pem.lines().nth(1).unwrap().to_owned();
    let agent_key = std::fs::read_to_string(installation.file("router/tls/key.pem")).unwrap();
    let secrets = [
        ("a WireGuard key", wireguard.as_str().unwrap().to_owned()),
        ("an SSH host key", host_key.as_str().unwrap().lines().nth(2).unwrap().to_owned()),
        ("user-data", "a-word-that-nobody-else-says".to_owned()),
        ("user-data in base64", BASE64.encode(USER_DATA.as_bytes())[..40].to_owned()),
        ("user-data in base64url", BASE64URL_NOPAD.encode(USER_DATA.as_bytes())[..40].to_owned()),
        ("an invitation", invitation.trim().to_owned()),
        ("an invitation's secret", parsed.secret.reveal().to_owned()),
        ("a token", std::fs::read_to_string(token).unwrap().trim().to_owned()),
        ("an agent's key", inside(&agent_key)),
    ];
    let logs = [("the core", installation.log()), ("an agent", ours.text())];
    for (whose, log) in &logs {
        assert!(log.contains("TRACE") && log.len() > 10_000, "{whose} logs too little for this test: {}", log.len());
        for (what, secret) in &secrets {
            assert!(secret.len() > 8, "{what} is too short to look for");
            let line = log.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "{whose} logs {what}: {}", line.unwrap_or_default());
        }
    }
}
