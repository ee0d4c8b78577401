//! What people see.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::fake_server::FakeServer;
use crate::run::User;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A server with network `home`, image `tiny` and instance `web`.
async fn stage() -> (FakeServer, User) {
    let server = FakeServer::start().await;
    let user = User::of(&server).await;
    user.done(&["network", "create", "home", "--wait"]).await;
    user.done(&["image", "create", "tiny", "--url", "https://example.org/tiny", "--sha256", DIGEST, "--wait"]).await;
    user.done(&["instance", "create", "web", "--image", "tiny", "--network", "home", "--wait"]).await;
    (server, user)
}

/// What a run shows, with what differs from run to run replaced.
async fn seen(server: &FakeServer, user: &User, arguments: &[&str]) -> String {
    let text = user.run(arguments).await.seen();
    let text = text.replace(user.home().to_str().unwrap(), "~").replace(&server.url(), "https://server");
    let words = text.split_inclusive('\n').map(|line| match line.find("AAAAC3NzaC1lZDI1NTE5") {
        Some(key) => format!("{}KEY\n", &line[..key]),
        None => line.to_owned(),
    });
    words.collect()
}

#[tokio::test]
async fn an_instance_gets_its_address_at_once() {
    let (server, user) = stage().await;
    let shown = seen(&server, &user, &["instance", "create", "db", "--image", "tiny", "--network", "home"]).await;
    insta::assert_snapshot!("instance_create", shown);
}

#[tokio::test]
async fn lists_and_facts_are_aligned() {
    let (server, user) = stage().await;
    user.done(&[
        "peer",
        "create",
        "laptop",
        "--network",
        "home",
        "--public-key",
        "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=",
        "--tag",
        "owner=ada",
        "--wait",
    ])
    .await;
    let mut all = String::new();
    for arguments in [
        ["network", "list"].as_slice(),
        &["network", "get", "home"],
        &["image", "list"],
        &["instance", "list"],
        &["instance", "get", "web"],
        &["peer", "list"],
        &["peer", "get", "laptop"],
        &["agent", "list"],
        &["operation", "list"],
    ] {
        all.push_str(&format!("$ rhyzomectl {}\n{}\n", arguments.join(" "), seen(&server, &user, arguments).await));
    }
    insta::assert_snapshot!("lists", all);
}

#[tokio::test]
async fn programs_get_json_or_yaml() {
    let (_server, user) = stage().await;
    let json = user.done(&["network", "list", "-o", "json"]).await;
    let networks: Vec<api::Network> = serde_json::from_str(&json).unwrap();
    assert_eq!(networks[0].name.as_str(), "home");
    let created = user.done(&["network", "create", "lab", "--wait", "-o", "json"]).await;
    let created: api::Accepted<api::Network> = serde_json::from_str(&created).unwrap();
    assert_eq!(created.resource.state, api::State::Ready, "one document, after the wait");
    let yaml = user.done(&["network", "get", "lab", "-o", "yaml"]).await;
    assert!(yaml.contains("name: lab\n") && yaml.contains("  subnet: 10.77.2.0/24\n"), "{yaml}");
}

#[tokio::test]
async fn every_field_of_a_network_is_a_flag() {
    let (_server, user) = stage().await;
    let flags = [
        "--subnet",
        "10.9.0.0/16",
        "--router-address",
        "10.9.0.9",
        "--mtu",
        "1400",
        "--dhcp-range",
        "10.9.1.0-10.9.2.0",
        "--lease-time",
        "1h",
        "--dns-domain",
        "lab.example",
        "--dns-server",
        "9.9.9.9",
        "--isolation",
        "closed",
        "--tag",
        "a=b",
    ];
    user.done(&[&["network", "create", "lab"], flags.as_slice()].concat()).await;
    let spec = async || {
        let network: Value = serde_json::from_str(&user.done(&["network", "get", "lab", "-o", "json"]).await).unwrap();
        network["spec"].clone()
    };
    insta::assert_json_snapshot!("network_spec", spec().await);
    user.done(&["network", "update", "lab", "--no-dhcp", "--dns-server", "auto", "--mtu", "1300"]).await;
    insta::assert_json_snapshot!("network_spec_updated", spec().await);
}

#[tokio::test]
async fn problems_tell_every_fault() {
    let (server, user) = stage().await;
    let mut all = String::new();
    for arguments in [
        ["network", "create", "lab", "--mtu", "9000"].as_slice(),
        &["network", "get", "nowhere"],
        &["network", "delete", "home", "--yes"],
        &["network", "delete", "home"],
        &["network", "update", "home"],
        &["network", "create", "Lab"],
        &["instance", "create", "doomed", "--image", "tiny", "--network", "home", "--wait", "-o", "yaml"],
        &["instance", "create", "x", "--image", "tiny", "--memory", "1.5G"],
        &["image", "import", "https://example.org/x.qcow2"],
        &["ssh", "nowhere"],
    ] {
        all.push_str(&format!("$ rhyzomectl {}\n{}\n", arguments.join(" "), seen(&server, &user, arguments).await));
    }
    insta::assert_snapshot!("problems", all);
}

#[tokio::test]
async fn without_a_server_it_says_how_to_log_in() {
    let user = User::new();
    let missing = user.run(&["--config", "none.json", "network", "list"]).await;
    assert_eq!((missing.code, missing.stderr.as_str()), (1, "rhyzomectl: there is no none.json\n"));
    std::fs::create_dir_all(user.path(".config/rhyzome")).unwrap();
    std::fs::write(user.path(".config/rhyzome/rhyzomectl.json"), r#"{"ulr": "x"}"#).unwrap();
    let wrong = user.run(&["network", "list"]).await;
    assert!(wrong.stderr.contains("rhyzomectl.json:1:6: unknown key \"ulr\"; did you mean \"url\"?"), "{wrong:?}");
}

#[tokio::test]
async fn a_login_that_does_not_work_changes_nothing() {
    let server = FakeServer::start().await;
    let user = User::new();
    std::fs::write(user.path("ca.pem"), server.ca()).unwrap();
    config::file::write_private(&user.path("token"), b"wrong").unwrap();
    let refused = user.run(&["login", "--url", &server.url(), "--ca", "ca.pem", "--token-file", "token"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("does not let you in: the token is not known"), "{refused:?}");
    assert!(!user.path(".config/rhyzome/rhyzomectl.json").exists());
}

#[tokio::test]
async fn a_default_network_is_made_once_and_can_be_chosen() {
    let (_server, user) = stage().await;
    let first = user.run(&["instance", "create", "one", "--image", "tiny"]).await;
    assert!(first.stderr.contains("made network default (10.77.2.0/24)"), "{first:?}");
    let second = user.run(&["instance", "create", "two", "--image", "tiny"]).await;
    assert_eq!((second.code, second.stderr.as_str()), (0, ""));
    user.done(&["default-network", "home"]).await;
    assert_eq!(user.done(&["default-network"]).await, "network  home\n");
    let third = user.done(&["instance", "create", "three", "--image", "tiny"]).await;
    assert!(third.lines().any(|line| line.split_whitespace().eq(["network", "home"])), "{third}");
    user.done(&["default-network", "--unset"]).await;
    assert_eq!(user.done(&["default-network"]).await, "");
}

#[tokio::test]
async fn the_own_keys_go_into_every_instance() {
    let (_server, user) = stage().await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti ada@example.org";
    std::fs::create_dir_all(user.path(".ssh")).unwrap();
    std::fs::write(user.path(".ssh/id_ed25519.pub"), format!("{key}\n")).unwrap();
    user.done(&["instance", "create", "mine", "--image", "tiny", "--network", "home"]).await;
    let instance: Value = serde_json::from_str(&user.done(&["instance", "get", "mine", "-o", "json"]).await).unwrap();
    let keys = instance["spec"]["ssh_keys"].as_array().unwrap();
    assert_eq!((keys.len(), keys[0].as_str().unwrap()), (2, key));
    assert!(keys[1].as_str().unwrap().ends_with(" rhyzomectl root"), "{keys:?}");
}

#[tokio::test]
async fn an_image_is_sent_once() {
    let (server, user) = stage().await;
    let content = vec![7; 3_000_000];
    std::fs::write(user.path("disk.qcow2"), &content).unwrap();
    let first = user.run(&["image", "import", "disk.qcow2", "--wait"]).await;
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stderr.contains("sending disk.qcow2: 100%"), "{first:?}");
    assert!(server.world().state.lock().unwrap().content == content, "what arrived is not what was sent");
    let again = user.run(&["image", "import", "disk", "disk.qcow2"]).await;
    assert!(again.stderr.contains("image disk is there already") && !again.stderr.contains("sending"), "{again:?}");
    let wrong = user.run(&["image", "import", "other", "disk.qcow2", "--sha256", DIGEST]).await;
    assert!(wrong.stderr.contains(&format!(", not {DIGEST}")), "{wrong:?}");
    let taken = user.run(&["image", "import", "tiny", "disk.qcow2"]).await;
    assert!(taken.stderr.contains("image tiny is there with another content"), "{taken:?}");
}

#[tokio::test]
async fn a_device_gets_one_configuration_for_all_its_networks() {
    let (server, user) = stage().await;
    user.done(&["network", "create", "lab"]).await;
    let first = user.done(&["wg", "config", "phone", "--network", "home", "--network", "lab"]).await;
    let key = first.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).unwrap();
    insta::assert_snapshot!("wg_config", first.replace(key, "SECRET"));
    user.done(&["wg", "config", "phone", "--output", "phone.conf"]).await;
    assert_eq!(std::fs::read_to_string(user.path("phone.conf")).unwrap(), first);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(user.path("phone.conf")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let code = user.done(&["wg", "qr", "phone"]).await;
    assert!(code.lines().count() > 20 && code.contains('█'), "{code}");
    let elsewhere = User::of(&server).await;
    let refused = elsewhere.run(&["wg", "config", "phone"]).await;
    assert!(refused.stderr.contains("its private key is not on this machine"), "{refused:?}");
}

#[tokio::test]
async fn events_go_on_across_broken_connections() {
    let server = FakeServer::start().await;
    let user = User::of(&server).await;
    let mut command = user.command(&["event", "list", "--follow", "--after", "1", "-o", "json"]);
    let mut following = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut sequences = Vec::new();
    while sequences.len() < 3 {
        let event: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        sequences.push(event["sequence"].as_u64().unwrap());
    }
    assert_eq!(sequences, [2, 3, 4]);
    let listed = user.done(&["event", "list"]).await;
    assert_eq!(
        listed.lines().next().unwrap(),
        "1  2026-11-18T11:06:40.123Z  network home  progressed  creating  the router has it"
    );
}

#[tokio::test]
async fn a_reader_who_has_had_enough_is_no_failure() {
    let user = User::new();
    let mut command = user.command(&["completions", "bash"]);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(run.stdout.take());
    let output = run.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
    for shell in ["bash", "zsh", "fish"] {
        assert!(user.done(&["completions", shell]).await.contains("rhyzomectl"));
    }
}

#[tokio::test]
async fn a_delete_says_what_goes_and_needs_consent() {
    let (server, user) = stage().await;
    let asked = user.run(&["instance", "delete", "web"]).await;
    assert_eq!((asked.code, asked.stdout.as_str()), (2, ""));
    assert!(asked.stderr.contains("will be deleted with its disk; address 10.77.1.2 becomes free"), "{asked:?}");
    assert!(user.done(&["instance", "list"]).await.contains("web"));
    let shown = seen(&server, &user, &["instance", "delete", "web", "--yes", "--wait"]).await;
    insta::assert_snapshot!("instance_delete", shown);
    assert!(!user.done(&["instance", "list"]).await.contains("web"));
}

#[tokio::test]
async fn power_is_asked_for_by_its_verbs() {
    let (_server, user) = stage().await;
    let power = async || {
        let instance: Value =
            serde_json::from_str(&user.done(&["instance", "get", "web", "-o", "json"]).await).unwrap();
        instance["spec"]["power"].as_str().unwrap().to_owned()
    };
    user.done(&["instance", "stop", "web", "--wait"]).await;
    assert_eq!(power().await, "stopped");
    let refused = user.run(&["ssh", "web"]).await;
    assert!(refused.stderr.contains("start it with: rhyzomectl instance start web"), "{refused:?}");
    user.done(&["instance", "start", "web", "--wait"]).await;
    assert_eq!(power().await, "running");
    user.done(&["instance", "restart", "web", "--wait"]).await;
}
