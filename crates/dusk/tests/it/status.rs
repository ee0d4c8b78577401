//! What an operator sees of a fleet, while its node runs and when it does not.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::command_line::{Node, PASSWORD};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the node, and says where it answers Prometheus.
fn run(node: &Node) -> (Running, String) {
    let root = node.path("root");
    std::fs::create_dir_all(root.join("proc")).unwrap();
    std::fs::write(root.join("proc/loadavg"), "1.50 0.50 0.00 1/200 4242\n").unwrap();
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/os-release"), "PRETTY_NAME=\"Debian of a test\"\n").unwrap();
    let line = ["run", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--root", root.to_str().unwrap()];
    let mut child = Running(node.command(&line).spawn().unwrap());
    let lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut metrics = lines.filter_map(|line| Some(line.strip_prefix("metrics at http://")?.to_owned()));
    let at = metrics.next().unwrap();
    std::thread::spawn(move || metrics.for_each(drop));
    (child, at.trim_end_matches("/metrics").to_owned())
}

#[test]
fn the_fleet_is_seen_while_its_node_runs_and_afterwards() {
    let master = Node::new();
    master.found(true).unwrap();
    let (running, metrics) = run(&master);
    let begun = Instant::now();
    let page = loop {
        let page = master.dusk(&["status"], &[]).unwrap();
        if page.contains("Debian of a test") && page.contains("applied") {
            break page;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "{page}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(page.contains("master (master)") && page.contains("1.50"), "{page}");
    let shown = master.dusk(&["show", "master"], &[]).unwrap();
    assert!(shown.contains("Debian of a test") && shown.contains("1.50 0.50 0.00"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&master.dusk(&["show", "master", "--json"], &[]).unwrap()).unwrap();
    assert_eq!(json["status"]["load"][0], 1.5);
    let text = scrape(&metrics);
    assert!(text.contains("dusk_device_up{") && text.contains("name=\"master\",groups=\"\"} 1\n"), "{text}");
    master.dusk(&["pause", "master", "--hours", "2", "--yes"], &[PASSWORD]).unwrap();
    master.dusk(&["resume", "master", "--yes"], &[PASSWORD]).unwrap();
    assert!(master.dusk(&["resume", "master", "--yes"], &[]).unwrap_err().contains("is not paused"));
    assert!(master.dusk(&["show", "nobody"], &[]).unwrap_err().contains("dusk status"));
    drop(running);
    let page = master.dusk(&["status"], &[]).unwrap();
    assert!(page.contains("Debian of a test") && page.contains("OFFLINE"), "{page}");
}

fn scrape(at: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(at).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
