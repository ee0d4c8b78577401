//! What must work before a change is confirmed.

use std::time::Duration;

use fleet::document::{Probe, ProbeKind};
use serde_json::{Value, json};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use ubus::Client;

use crate::shell;

/// Looks once.
///
/// # Errors
/// Says which probe fails, and why.
pub async fn look(probe: &Probe, client: &Client) -> Result<(), String> {
    let deadline = Duration::from_secs(probe.seconds.into());
    let found = match &probe.kind {
        ProbeKind::Interface(name) => timeout(deadline, interface(name, client)).await.unwrap_or_else(late),
        ProbeKind::Ping(host) => {
            let seconds = probe.seconds.to_string();
            shell::run("ping", &["-c", "1", "-W", &seconds, host], deadline + Duration::from_secs(1)).await.map(drop)
        }
        ProbeKind::Tcp(host, port) => {
            let connect = async { TcpStream::connect((host.as_str(), *port)).await.map(drop) };
            let connected = timeout(deadline, connect).await;
            connected.map_or_else(late, |done| done.map_err(|error| error.to_string()))
        }
        ProbeKind::Resolve(name) => {
            let resolve = async { lookup_host((name.as_str(), 0)).await.map(|mut found| found.next()) };
            match timeout(deadline, resolve).await {
                Ok(Ok(Some(_))) => Ok(()),
                Ok(Ok(None)) => Err("it has no address".to_owned()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(elapsed) => late(elapsed),
            }
        }
        ProbeKind::Command(command) => shell::line(command, deadline).await.map(drop),
    };
    found.map_err(|reason| format!("probe {}: {reason}", probe.name))
}

fn late(_: tokio::time::error::Elapsed) -> Result<(), String> {
    Err("no answer in time".to_owned())
}

async fn interface(name: &str, client: &Client) -> Result<(), String> {
    let dump = client.call("network.interface", "dump", json!({})).await.map_err(|error| error.to_string())?;
    let dump = dump.unwrap_or_default();
    let mut interfaces = dump.get("interface").and_then(Value::as_array).into_iter().flatten();
    let found = interfaces.find(|interface| interface.get("interface").and_then(Value::as_str) == Some(name));
    match found.and_then(|interface| interface.get("up")).and_then(Value::as_bool) {
        Some(true) => Ok(()),
        Some(false) => Err("the interface is down".to_owned()),
        None => Err("there is no such interface".to_owned()),
    }
}
