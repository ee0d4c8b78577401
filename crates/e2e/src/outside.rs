//! The internet of the test: a namespace at the end of the machine's one cable, with a server that says who asked.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::machine::run;

/// The machine's own public address.
pub const MACHINE: &str = "11.22.33.2";
/// A public server.
pub const PUBLIC: &str = "11.22.33.1";
/// A server with a private address behind the machine: somebody's printer, a management network.
pub const PRIVATE: &str = "192.168.77.1";

/// A shell command that asks the server at `address` and prints its answer. It ends well also where there is none.
pub fn question(address: &str) -> String {
    format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} 80; true")
}

/// Builds it, and serves as long as the test runs.
pub fn build() {
    run("ip", &["netns", "add", "outside"]);
    run("ip", &["link", "add", "cable", "type", "veth", "peer", "name", "far", "netns", "outside"]);
    run("ip", &["address", "add", &format!("{MACHINE}/24"), "dev", "cable"]);
    run("ip", &["link", "set", "cable", "up"]);
    for address in [format!("{PUBLIC}/24"), format!("{PRIVATE}/24")] {
        run("ip", &["-n", "outside", "address", "add", &address, "dev", "far"]);
    }
    for link in ["lo", "far"] {
        run("ip", &["-n", "outside", "link", "set", link, "up"]);
    }
    run("ip", &["route", "add", "default", "via", PUBLIC]);
    let namespace = File::open("/run/netns/outside").unwrap();
    let (ready, served) = std::sync::mpsc::channel();
    thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let listener = TcpListener::bind("0.0.0.0:80").unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let asker = stream.peer_addr().unwrap().ip();
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let body = format!("you are {asker}\n");
                let head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n";
                // Whoever asked may be gone.
                let _ = write!(&stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
            });
        }
    });
    served.recv().unwrap();
}
