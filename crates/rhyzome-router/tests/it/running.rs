//! A router in the initial state of the transcripts, on a network or on none.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use config::Tls;
use pki::{Alpn, ClientAuth, KeyedCertificate};
use rhyzome_router::account::Passwords;
use rhyzome_router::certificate::Certificate;
use rhyzome_router::command;
use rhyzome_router::files::Root;
use rhyzome_router::local_socket::LocalSocket;
use rhyzome_router::question::Question;
use rhyzome_router::router::{Machine, Router};
use rhyzome_router::rpcd::{Folders, Rpcd};
use rhyzome_router::server::Server;
use rhyzome_router::status::{Answer, Status};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use types::SecretText;

use crate::client::{Client, SERVER_NAME};

/// A running router and the folder that it keeps its files in.
pub struct Running {
    pub client: Client,
    /// Dropped before the folder: with it, the machine beneath ends.
    runtime: Option<Runtime>,
    /// Its local socket.
    pub socket: std::path::PathBuf,
    _dir: TempDir,
}

impl Running {
    /// A router without a network, in the initial state of the transcripts.
    pub fn bare() -> Self {
        Self::start(|root| NoNetwork { root })
    }

    /// A router on a machine, in the initial state of the transcripts.
    pub fn start<M: Machine>(machine: impl FnOnce(Root) -> M) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let initial = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/initial");
        let acl = dir.path().join("acl.d");
        let root = Root {
            config: dir.path().join("config"),
            tmp: dir.path().join("tmp"),
            acl: acl.clone(),
            own: dir.path().join("own"),
        };
        for folder in [&root.config, &root.tmp, &acl] {
            fs::create_dir(folder).unwrap();
        }
        copy_files(&initial, &root.config);
        copy_files(&initial.join("acl.d"), &acl);

        let (certificate, cert, key) = certificate(dir.path());
        let mut passwords = Passwords::default();
        passwords.insert("root".to_owned(), SecretText::new("owrt-secret".to_owned()));
        let folders = Folders { config: root.config.clone(), acl };
        let router = Arc::new(Router::new(Rpcd::new(folders, passwords, random), machine(root)));

        let runtime = Runtime::new().unwrap();
        let keyed = KeyedCertificate::load(&Tls { ca: None, cert, key }).unwrap();
        let tls = pki::server_config(keyed, &ClientAuth::None, Alpn::Http1).unwrap();
        let server =
            runtime.block_on(Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), Certificate::fixed(tls))).unwrap();
        let address = server.address().unwrap();
        let socket = dir.path().join("ubus.sock");
        let local = {
            let _inside = runtime.enter();
            LocalSocket::bind(&socket).unwrap()
        };
        runtime.spawn(local.serve(Arc::clone(&router)));
        runtime.spawn(server.serve(router, std::future::pending()));
        Running { client: Client::new(address, &certificate), runtime: Some(runtime), socket, _dir: dir }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.runtime.take());
    }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A self-signed certificate as PEM, and the files that it and its key were written to.
pub fn certificate(dir: &Path) -> (String, std::path::PathBuf, std::path::PathBuf) {
    let made = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()]).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    fs::write(&cert, made.cert.pem()).unwrap();
    config::file::write_private(&key, made.signing_key.serialize_pem().as_bytes()).unwrap();
    (made.cert.pem(), cert, key)
}

/// Interfaces by name only, no leases, files and commands of the machine that the test runs on.
struct NoNetwork {
    root: Root,
}

impl Machine for NoNetwork {
    async fn ask(&self, question: Question) -> Answer {
        let root = self.root.clone();
        let answer = move || match question {
            Question::File(question) => root.answer(&question),
            Question::Exec(question) => command::run(&root, &question),
            Question::Board => members(json!({
                "kernel": "6", "hostname": "h", "system": "s", "model": "m", "board_name": "b", "rootfs_type": "r",
                "release": {"distribution": "d", "version": "v", "revision": "r", "target": "t", "description": "d",
                    "builddate": "1"}
            })),
            Question::Leases { .. } => members(json!({"dhcp_leases": [], "dhcp6_leases": []})),
            _ => Err(Status::NotSupported),
        };
        tokio::task::spawn_blocking(answer).await.unwrap()
    }

    fn follow(&self, _: BTreeSet<String>) {}

    fn interfaces(&self) -> Vec<String> {
        ["lan", "loopback", "wan"].map(str::to_owned).to_vec()
    }
}

fn members(value: serde_json::Value) -> Answer {
    match serde_json::from_value(value).unwrap() {
        rhyzome_router::json::Json::Object(members) => Ok(Some(members)),
        other => panic!("{other:?} is no object"),
    }
}
