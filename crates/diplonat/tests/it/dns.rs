//! Names in a zone of knot, and in one of BIND: the same suite for both, with dig and nsupdate's words as the judge.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use diplonat::dns::Target;
use diplonat::dns::tsig::Key;
use diplonat::dns::update::{UpdateError, Zone};
use tempfile::TempDir;
use types::{DomainName, SecretText};

use crate::world::wait_for;

const SECRET: &str = "c2VjcmV0IGtleSBvZiB0aGlydHktdHdvIGJ5dGVzIQ==";
const ZONE: &str = "$TTL 60
@ SOA ns.example.org. host.example.org. 1 3600 600 86400 60
@ NS ns.example.org.
ns A 127.0.0.1
theirs A 11.22.33.44
";

struct Server {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Starts a server with what `configure` writes for a directory and a port, and waits until it answers.
fn start(program: &str, arguments: &[&str], configure: impl Fn(&Path, u16) -> String) -> Server {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("example.org.zone"), ZONE).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = dir.path().join("server.conf");
    fs::write(&file, configure(dir.path(), port)).unwrap();
    let log = fs::File::create(dir.path().join("log")).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .args(["-c", file.to_str().unwrap()])
        .current_dir(dir.path())
        .stdout(Stdio::from(log.try_clone().unwrap()))
        .stderr(Stdio::from(log))
        .spawn();
    let child =
        child.unwrap_or_else(|error| panic!("{program}: {error}; these tests need the packages of scripts/machine.sh"));
    let server = Server { child, address: ([127, 0, 0, 1], port).into(), _dir: dir };
    let answers = || (dig(&server, "ns.example.org", "A") == "127.0.0.1").then_some(());
    wait_for("the name server answers", answers).unwrap_or_else(|| {
        panic!("{program}: {}", fs::read_to_string(server._dir.path().join("log")).unwrap_or_default())
    });
    server
}

fn knot() -> Server {
    start("knotd", &[], |dir, port| {
        let dir = dir.display();
        format!(
            "server:
    listen: 127.0.0.1@{port}
    rundir: {dir}
database:
    storage: {dir}
key:
  - id: k.example.org
    algorithm: hmac-sha256
    secret: {SECRET}
acl:
  - id: update
    key: k.example.org
    action: update
zone:
  - domain: example.org
    storage: {dir}
    file: example.org.zone
    acl: update
"
        )
    })
}

fn bind() -> Server {
    start("named", &["-g"], |dir, port| {
        let dir = dir.display();
        format!(
            "options {{ directory \"{dir}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; pid-file none; session-keyfile none; dnssec-validation no; managed-keys-directory \"{dir}\"; }};
controls {{ }};
key \"k.example.org\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};
zone \"example.org\" {{ type primary; file \"{dir}/example.org.zone\"; allow-update {{ key \"k.example.org\"; }}; }};
"
        )
    })
}

fn dig(server: &Server, name: &str, kind: &str) -> String {
    let port = server.address.port().to_string();
    let output = Command::new("dig")
        .args(["+short", "+tcp", "+time=2", "+tries=1", "@127.0.0.1", "-p", &port, name, kind])
        .output();
    let output =
        output.unwrap_or_else(|error| panic!("dig: {error}; these tests need the packages of scripts/machine.sh"));
    let mut lines: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect();
    lines.sort();
    lines.join(" ")
}

fn zone(server: &Server, owner: &str, key: &str) -> Zone {
    let key = Key::of(name("k.example.org"), &SecretText::new(key.into())).unwrap();
    Zone { server: server.address, name: name("example.org"), ttl: 60, owner: owner.into(), key }
}

fn name(text: &str) -> DomainName {
    text.parse().unwrap()
}

fn address(last: u8) -> BTreeSet<Target> {
    [Target::A(Ipv4Addr::new(11, 22, 33, last))].into()
}

async fn suite(server: &Server) {
    let (ours, others, www) = (zone(server, "rz:n1", SECRET), zone(server, "rz:n2", SECRET), name("www.example.org"));
    ours.point(&www, &address(5)).await.unwrap();
    assert_eq!(dig(server, "www.example.org", "A"), "11.22.33.5");
    assert_eq!(dig(server, "diplonat-owner.www.example.org", "TXT"), "\"rz:n1\"");
    // Again, and elsewhere: in one message, so that the name is never gone.
    ours.point(&www, &address(5)).await.unwrap();
    let both = [Target::A(Ipv4Addr::new(11, 22, 33, 6)), Target::Aaaa("2001:db8::1".parse().unwrap())].into();
    ours.point(&www, &both).await.unwrap();
    assert_eq!(
        (dig(server, "www.example.org", "A"), dig(server, "www.example.org", "AAAA")),
        ("11.22.33.6".into(), "2001:db8::1".into())
    );
    ours.point(&www, &[Target::Cname(name("ns.example.org"))].into()).await.unwrap();
    assert_eq!(dig(server, "www.example.org", "CNAME"), "ns.example.org.");

    // What is another's, by another diplonat or by hand, stays.
    for (zone, taken) in [(&others, &www), (&ours, &name("theirs.example.org"))] {
        let refused = zone.point(taken, &address(7)).await.unwrap_err();
        assert!(matches!(refused, UpdateError::Foreign(_)), "{refused}");
        zone.remove(taken).await.unwrap();
    }
    assert_eq!(dig(server, "www.example.org", "CNAME"), "ns.example.org.");
    assert_eq!(dig(server, "theirs.example.org", "A"), "11.22.33.44");

    let wrong = zone(server, "rz:n1", "d3Jvbmc=").point(&www, &address(8)).await.unwrap_err();
    assert!(wrong.to_string().contains("NOTAUTH"), "{wrong}");
    let outside = ours.point(&name("www.example.com"), &address(8)).await.unwrap_err();
    assert!(outside.to_string().contains("NOTZONE"), "{outside}");

    ours.remove(&www).await.unwrap();
    ours.remove(&www).await.unwrap();
    assert_eq!(
        (dig(server, "www.example.org", "ANY"), dig(server, "diplonat-owner.www.example.org", "TXT")),
        (String::new(), String::new())
    );
}

#[tokio::test]
async fn names_are_kept_in_a_zone_of_knot() {
    suite(&knot()).await;
}

#[tokio::test]
async fn names_are_kept_in_a_zone_of_bind() {
    suite(&bind()).await;
}
