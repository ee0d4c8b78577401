//! A port for Prometheus. A thread serves one after the other; whoever is slow is cut off.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use fleet::prometheus::{self, Observed};

use super::overview::Shared;
use crate::board::Row;
use crate::seat::now;

/// How long somebody may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest head of a question.
const LONGEST: usize = 8192;

/// Answers Prometheus.
///
/// # Errors
/// When nobody can listen there, or there is no thread to be had.
pub fn answer_at(at: SocketAddr, shared: Shared) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(at).with_context(|| format!("cannot listen at {at} for --metrics"))?;
    let at = listener.local_addr()?;
    thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
            if let Some(head) = head(&stream) {
                let _ = (&stream).write_all(answer(&head, &shared).as_bytes());
            }
        }
    })?;
    Ok(at)
}

/// What is asked, up to the empty line.
fn head(mut stream: impl Read) -> Option<String> {
    let (mut head, mut buffer, begun) = (Vec::new(), [0; 1024], Instant::now());
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        head.extend_from_slice(&buffer[..length]);
        if head.len() > LONGEST || begun.elapsed() > PATIENCE {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

fn answer(head: &str, shared: &Shared) -> String {
    let mut words = head.split_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics")) => {
            let now = now();
            let observed: Vec<Observed> = rows(shared).iter().map(|row| row.observed(now)).collect();
            ("200 OK", prometheus::text(&observed))
        }
        (Some("GET"), _) => ("404 Not Found", "there is /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "GET is expected\n".to_owned()),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

fn rows(shared: &Shared) -> Vec<Row> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::sync::{Arc, Mutex};

    use super::*;

    fn shared() -> Shared {
        let row = Row {
            id: "00112233445566778899".parse().unwrap(),
            name: "attic".parse().unwrap(),
            groups: Vec::new(),
            role: "",
            address: None,
            seen: None,
            is_online: true,
            index: 1,
            vitals: None,
            firmware: String::new(),
            outcome: String::new(),
        };
        Arc::new(Mutex::new(vec![row]))
    }

    #[test]
    fn prometheus_gets_the_metrics_and_nothing_else() {
        let at = answer_at("127.0.0.1:0".parse().unwrap(), shared()).unwrap();
        let ask = |question: &str| {
            let mut stream = TcpStream::connect(at).unwrap();
            stream.write_all(question.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let answer = ask("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("dusk_device_up{device=\"00112233445566778899\",name=\"attic\",groups=\"\"} 1\n"),
            "{answer}"
        );
        assert!(ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
    }
}
