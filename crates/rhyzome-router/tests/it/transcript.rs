//! Replays a recorded transcript of OpenWrt: the format is described in the README beside the recordings.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rhyzome_router::json::Json;
use serde_json::{Map, Value, json};
use ubus::{SessionId, Ubus};

use crate::client::Client;

/// How often a step that takes time is repeated.
const POLL: Duration = Duration::from_millis(200);

/// What a step does beside the API; the value is what the transcript says about it.
pub type Action<'a> = dyn Fn(&Value) -> Value + 'a;

/// The values that placeholders stand for, by placeholder.
#[derive(Clone, Default)]
struct Bindings(BTreeMap<String, String>);

/// Replays `name` step by step and panics at the first reply that differs.
pub fn replay(name: &str, client: &Client, act: &Action<'_>) {
    replay_over(name, &Way::Https(client), act);
}

/// Replays the calls of `name` over the local socket. Those that uhttpd refuses are left out: it is not there.
pub fn replay_locally(name: &str, socket: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let way = Way::Local { runtime, client: ubus::Local::new(socket) };
    replay_over(name, &way, &|action| panic!("{action} needs a network"));
}

/// How a transcript's requests go to the router.
enum Way<'a> {
    Https(&'a Client),
    Local { runtime: tokio::runtime::Runtime, client: ubus::Local },
}

impl Way<'_> {
    /// Makes a call over the local socket; gives the reply that uhttpd would have made of it.
    fn call(runtime: &tokio::runtime::Runtime, client: &ubus::Local, request: &Value) -> Value {
        let word = |at: usize| request["params"][at].as_str().unwrap();
        let sid = SessionId::parse(word(0)).unwrap();
        let called = runtime.block_on(client.call(&sid, word(1), word(2), request["params"][3].clone()));
        let result = match called {
            Ok(None) => json!([0]),
            Ok(Some(data)) => json!([0, data]),
            Err(error) => match error.status() {
                Some(status) => json!([status.code()]),
                None => panic!("{request}: {error}"),
            },
        };
        json!({"jsonrpc": "2.0", "id": request["id"], "result": result})
    }
}

fn replay_over(name: &str, way: &Way<'_>, act: &Action<'_>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name).with_extension("jsonl");
    let text = fs::read_to_string(path).unwrap();
    let mut bindings = Bindings::default();
    for line in text.lines() {
        let mut step: Value = serde_json::from_str(line).unwrap();
        // The order of a request's members matters, and `Value` does not keep it.
        if let Some(request @ Json::Object(_)) = serde_json::from_str::<Json>(line).unwrap().get("request") {
            step["text"] = serde_json::to_string(request).unwrap().into();
        }
        if let Some(wait) = step["wait_ms"].as_u64() {
            thread::sleep(Duration::from_millis(wait));
        }
        let deadline = Instant::now() + Duration::from_millis(step["poll_ms"].as_u64().unwrap_or(0));
        loop {
            let mut tried = bindings.clone();
            match take(&step, way, act, &mut tried) {
                Ok(()) => {
                    bindings = tried;
                    break;
                }
                Err(difference) if Instant::now() >= deadline => {
                    panic!("{name} step {} ({}): {difference}", step["step"], step["note"])
                }
                Err(_) => thread::sleep(POLL),
            }
        }
    }
}

fn take(step: &Value, way: &Way<'_>, act: &Action<'_>, bindings: &mut Bindings) -> Result<(), String> {
    if let Some(action) = step.get("do") {
        return bindings.compare(&step["reply"], &act(action), "reply");
    }
    let http = &step["http"];
    let body = match &step["request"] {
        Value::Null => None,
        Value::Object(request) if request.len() == 1 && request.contains_key("raw") => {
            Some(bindings.fill(request["raw"].as_str().unwrap()))
        }
        request => Some(bindings.fill(step["text"].as_str().unwrap_or(&request.to_string()))),
    };
    let client = match way {
        Way::Https(client) => client,
        Way::Local { .. } if step["reply"].get("result").is_none() || body.is_none() => return Ok(()),
        Way::Local { runtime, client } => {
            let request: Value = serde_json::from_str(&body.unwrap_or_default()).unwrap();
            let reply = Way::call(runtime, client, &request);
            return bindings
                .compare(&step["reply"], &reply, "reply")
                .map_err(|difference| format!("{difference}\n  sent: {request}\n  got: {reply}"));
        }
    };
    let headers = http["headers"].as_object().unwrap_or(&Map::new()).clone();
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| (name.clone(), bindings.fill(value.as_str().unwrap()))).collect();
    let reply = client.send(
        http["method"].as_str().unwrap(),
        http["path"].as_str().unwrap(),
        &headers,
        body.as_deref().map(str::as_bytes),
    );
    if Some(u64::from(reply.status)) != http["status"].as_u64() {
        return Err(format!("HTTP status {}, expected {}", reply.status, http["status"]));
    }
    if http["close"] == true && !reply.closes() {
        return Err("expected Connection: close".to_owned());
    }
    if step["reply"].is_null() {
        return Ok(());
    }
    bindings.compare(&step["reply"], &reply.json(), "reply").map_err(|difference| {
        format!("{difference}\n  sent: {}\n  got: {}", body.unwrap_or_default(), String::from_utf8_lossy(&reply.body))
    })
}

impl Bindings {
    /// A request with its placeholders filled in.
    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (placeholder, value) in &self.0 {
            text = text.replace(placeholder, value);
        }
        if let Some((before, rest)) = text.split_once("${FILL:") {
            let (size, after) = rest.split_once('}').unwrap();
            let missing = size.parse::<usize>().unwrap() - before.len() - after.len();
            text = format!("{before}{}{after}", "x".repeat(missing));
        }
        assert!(!text.contains("${"), "a placeholder without a value in {text}");
        text
    }

    /// Whether `actual` is what was expected; names the first difference by its path.
    fn compare(&mut self, expected: &Value, actual: &Value, path: &str) -> Result<(), String> {
        let matched = match (expected, actual) {
            (Value::String(pattern), _) if pattern.starts_with("${") && kind(pattern).is_some() => {
                kind(pattern).is_some_and(|is| is(actual))
            }
            (Value::String(pattern), Value::String(text)) => return self.compare_text(pattern, text, path),
            (Value::Array(pattern), Value::Array(items)) if pattern.first() == Some(&"${REPEAT}".into()) => {
                if items.is_empty() {
                    return Err(format!("{path}: expected one item or more"));
                }
                let mut items = items.iter().enumerate();
                return items.try_for_each(|(i, item)| self.compare(&pattern[1], item, &format!("{path}[{i}]")));
            }
            (Value::Array(wanted), Value::Array(items)) if wanted.len() == items.len() => {
                let mut pairs = wanted.iter().zip(items).enumerate();
                return pairs.try_for_each(|(i, (wanted, item))| self.compare(wanted, item, &format!("{path}[{i}]")));
            }
            (Value::Object(wanted), Value::Object(members)) => {
                if let Some(name) = members.keys().find(|name| !wanted.contains_key(*name)) {
                    return Err(format!("{path}: did not expect {name:?}"));
                }
                return wanted.iter().try_for_each(|(name, wanted)| match members.get(name) {
                    Some(member) => self.compare(wanted, member, &format!("{path}.{name}")),
                    None => Err(format!("{path}: expected {name:?}")),
                });
            }
            (expected, actual) => expected == actual,
        };
        if matched { Ok(()) } else { Err(format!("{path}: expected {expected}, got {actual}")) }
    }

    fn compare_text(&mut self, pattern: &str, text: &str, path: &str) -> Result<(), String> {
        let different = || Err(format!("{path}: expected {pattern:?}, got {text:?}"));
        let mut pattern_now = pattern.to_owned();
        for (placeholder, value) in &self.0 {
            pattern_now = pattern_now.replace(placeholder, value);
        }
        let Some((before, rest)) = pattern_now.split_once("${") else {
            return if pattern_now == text { Ok(()) } else { different() };
        };
        let (name, after) = rest.split_once('}').unwrap();
        let Some(value) = text.strip_prefix(before).and_then(|text| text.strip_suffix(after)) else {
            return different();
        };
        let fits = match name.split_once(':') {
            Some(("SID", _)) => value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit()),
            Some(("IP", _)) => value.parse::<std::net::Ipv4Addr>().is_ok(),
            _ => panic!("{path}: unknown placeholder {name}"),
        };
        if !fits || self.0.values().any(|known| known == value) {
            return different();
        }
        self.0.insert(format!("${{{name}}}"), value.to_owned());
        Ok(())
    }
}

/// The test that a placeholder for a whole value stands for.
fn kind(placeholder: &str) -> Option<fn(&Value) -> bool> {
    match placeholder {
        "${INT}" => Some(|value| value.is_i64() || value.is_u64()),
        "${NUM}" => Some(Value::is_number),
        "${STR}" => Some(Value::is_string),
        "${ANY}" => Some(|_| true),
        _ => None,
    }
}
