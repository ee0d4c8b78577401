//! The HTTPS client against a web server that answers well, badly or not at all.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use types::SecretText;
use ubus::{Client, Credentials, Https, HttpsError, Limits, MAX_REQUEST, RpcCode, SessionId, Status, Ubus, UbusError};

use crate::web::{Answer, Server, distrustful};

const LIMITS: Limits = Limits { connect: Duration::from_secs(5), total: Duration::from_secs(20), reply: 100_000 };

/// An answer to the request with this result.
fn result(request: &Value, result: &Value) -> Answer {
    Answer::body(json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string())
}

async fn get(server: &Server, limits: Limits) -> Result<Option<Value>, UbusError> {
    let https = Https::new(&server.url, server.trusted(), limits).unwrap();
    https.call(&SessionId::nobody(), "uci", "get", json!({"config": "toys"})).await
}

async fn answered(answer: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> Result<Option<Value>, UbusError> {
    get(&Server::start(answer).await, LIMITS).await
}

#[tokio::test]
async fn a_call_goes_there_and_back() {
    let mut server = Server::start(|request| result(request, &json!([0, {"value": "red"}]))).await;
    assert_eq!(get(&server, LIMITS).await.unwrap(), Some(json!({"value": "red"})));
    let request = server.requests.recv().await.unwrap();
    assert_eq!(request["params"], json!(["0".repeat(32), "uci", "get", {"config": "toys"}]));
    assert_eq!(answered(|request| result(request, &json!([0]))).await.unwrap(), None);
}

#[tokio::test]
async fn an_answer_may_come_in_chunks() {
    let answer = |request: &Value| {
        let body = json!({"jsonrpc": "2.0", "id": request["id"], "result": [0]}).to_string();
        let (first, rest) = body.split_at(10);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunks = format!("{head}{:x}\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", first.len(), rest.len());
        Answer::Bytes(chunks.into_bytes())
    };
    assert_eq!(answered(answer).await.unwrap(), None);
}

#[tokio::test]
async fn calls_share_a_connection_and_have_ids_of_their_own() {
    let mut server = Server::start(|request| result(request, &json!([0]))).await;
    let https = Https::new(&server.url, server.trusted(), LIMITS).unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        https.call(&SessionId::nobody(), "uci", "get", json!({})).await.unwrap();
        ids.push(server.requests.recv().await.unwrap()["id"].as_u64().unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn refusals_are_typed() {
    let error = answered(|request| result(request, &json!([4]))).await.unwrap_err();
    assert_eq!(error.status(), Some(Status::NotFound));
    let denied = |request: &Value| {
        let error = json!({"code": -32002, "message": "Access denied"});
        Answer::body(json!({"jsonrpc": "2.0", "id": request["id"], "error": error}).to_string())
    };
    let error = answered(denied).await.unwrap_err();
    assert!(matches!(error, UbusError::Rpc { code: RpcCode::AccessDenied, .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_no_answer_is_malformed() {
    for body in ["<html>LuCI</html>", "", "[1,2", r#"{"jsonrpc":"2.0","id":1,"result":"fine"}"#] {
        let error = answered(move |_| Answer::body(body)).await.unwrap_err();
        assert!(matches!(error, UbusError::Malformed { .. }), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn an_http_status_is_told_and_no_redirect_is_followed() {
    for (line, expected) in
        [("403 Forbidden", 403), ("500 Oops", 500), ("302 Found\r\nLocation: https://localhost/", 302)]
    {
        let error = answered(move |_| Answer::status(line)).await.unwrap_err();
        assert!(matches!(error, UbusError::Http { status, .. } if status == expected), "{error:?}");
        assert!(error.is_lost());
    }
}

#[tokio::test]
async fn a_router_that_hangs_is_given_up() {
    let server = Server::start(|_| Answer::Hang).await;
    let deadline = Duration::from_millis(200);
    let error = get(&server, Limits { total: deadline, ..LIMITS }).await.unwrap_err();
    assert_eq!(error.to_string(), "uci get: no answer within 200 ms");
    let endless = Server::start(|_| Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec())).await;
    let error = get(&endless, Limits { total: deadline, ..LIMITS }).await.unwrap_err();
    assert!(matches!(error, UbusError::Deadline { .. }), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_told() {
    let error = answered(|_| Answer::Close).await.unwrap_err();
    assert!(matches!(error, UbusError::Transport { .. }) && error.is_lost(), "{error:?}");
    let server = Server::start(|_| Answer::Close).await;
    let https = Https::new("https://localhost:1/ubus", server.trusted(), LIMITS).unwrap();
    let error = https.call(&SessionId::nobody(), "uci", "get", json!({})).await.unwrap_err();
    assert!(matches!(error, UbusError::Transport { .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_ends_it() {
    let mut server = Server::start(|request| result(request, &json!([0]))).await;
    let https = Https::new(&server.url, distrustful(), LIMITS).unwrap();
    let error = https.call(&SessionId::nobody(), "session", "login", json!({"password": "x"})).await.unwrap_err();
    assert!(matches!(&error, UbusError::Certificate { reason, .. } if reason.contains("another CA")), "{error:?}");
    // Nor is one for another name.
    let elsewhere = server.url.replace("localhost", "127.0.0.1");
    let https = Https::new(&elsewhere, server.trusted(), LIMITS).unwrap();
    let error = https.call(&SessionId::nobody(), "session", "login", json!({"password": "x"})).await.unwrap_err();
    assert!(matches!(&error, UbusError::Certificate { reason, .. } if reason.contains("another name")), "{error:?}");
    assert!(server.requests.try_recv().is_err());
}

#[tokio::test]
async fn only_https_is_called() {
    for url in ["http://localhost/ubus", "localhost/ubus", "ftp://localhost", "", "https://"] {
        let error = Https::new(url, distrustful(), LIMITS).unwrap_err();
        assert!(matches!(error, HttpsError::Url { .. }), "{url}");
    }
}

#[tokio::test]
async fn sizes_are_limited_both_ways() {
    let mut server = Server::start(|request| result(request, &json!([0, {"data": "x".repeat(200_000)}]))).await;
    let error = get(&server, LIMITS).await.unwrap_err();
    assert!(matches!(error, UbusError::ReplyTooLarge { limit: 100_000, .. }), "{error:?}");
    server.requests.recv().await.unwrap();
    let https = Https::new(&server.url, server.trusted(), LIMITS).unwrap();
    let args = json!({"data": "x".repeat(MAX_REQUEST)});
    let error = https.call(&SessionId::nobody(), "file", "write", args).await.unwrap_err();
    assert!(matches!(error, UbusError::RequestTooLarge { .. }), "{error:?}");
    assert!(server.requests.try_recv().is_err());
}

#[tokio::test]
async fn a_login_is_what_rpcd_answered() {
    let transcript = include_str!("../transcripts/05-session-login.jsonl");
    let step: Value = serde_json::from_str(transcript.lines().next().unwrap()).unwrap();
    let mut reply = step["reply"]["result"].clone();
    reply[1]["ubus_rpc_session"] = json!("0123456789abcdef0123456789abcdef");
    let mut server = Server::start(move |request| match request["params"][1].as_str() {
        Some("session") => result(request, &reply),
        _ => result(request, &json!([0, {"changes": {}}])),
    })
    .await;
    let https = Arc::new(Https::new(&server.url, server.trusted(), LIMITS).unwrap());
    let password = SecretText::new("owrt-secret".to_owned());
    let client = Client::new(https, Credentials { username: "root".to_owned(), password });
    let changes = client.call("uci", "changes", json!({})).await.unwrap();
    assert_eq!(changes, Some(json!({"changes": {}})));
    let login = server.requests.recv().await.unwrap();
    assert_eq!(login["params"], step["request"]["params"]);
    let call = server.requests.recv().await.unwrap();
    assert_eq!(call["params"][0], "0123456789abcdef0123456789abcdef");
}
