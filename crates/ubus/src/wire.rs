//! JSON-RPC as uhttpd speaks it: the bytes of a request and of its answer.

use serde::Serialize;
use serde_json::Value;

use crate::SessionId;
#[cfg(any(feature = "https", test))]
use crate::{MAX_REQUEST, RpcCode, Status, UbusError};

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'static str,
    params: (&'a str, &'a str, &'a str, &'a Value),
}

/// The bytes of a call.
#[cfg(any(feature = "https", test))]
pub(crate) fn encode(
    id: u64,
    session: &SessionId,
    object: &str,
    method: &str,
    args: &Value,
) -> Result<Vec<u8>, UbusError> {
    let params = (session.reveal(), object, method, args);
    let request = Request { jsonrpc: "2.0", id, method: "call", params };
    let body = serde_json::to_vec(&request).expect("invariant: JSON values and strings are JSON");
    if body.len() > MAX_REQUEST {
        let (object, method) = (object.to_owned(), method.to_owned());
        return Err(UbusError::RequestTooLarge { object, method, size: body.len(), limit: MAX_REQUEST });
    }
    Ok(body)
}

/// How many bytes a call takes, whatever its id.
pub(crate) fn size(object: &str, method: &str, args: &Value) -> usize {
    let nobody = SessionId::nobody();
    let params = (nobody.reveal(), object, method, args);
    let request = Request { jsonrpc: "2.0", id: u64::MAX, method: "call", params };
    serde_json::to_vec(&request).map_or(usize::MAX, |body| body.len())
}

/// What an answer says.
#[cfg(any(feature = "https", test))]
pub(crate) fn decode(id: u64, object: &str, method: &str, body: &[u8]) -> Result<Option<Value>, UbusError> {
    let malformed = |expected: &str| UbusError::malformed(object, method, expected);
    let answer: Value = serde_json::from_slice(body).map_err(|_| malformed("JSON"))?;
    if answer.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(malformed("an object with \"jsonrpc\":\"2.0\""));
    }
    if let Some(error) = answer.get("error") {
        let code =
            error.get("code").and_then(Value::as_i64).ok_or_else(|| malformed("a number as the error's code"))?;
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
        return Err(UbusError::Rpc {
            object: object.to_owned(),
            method: method.to_owned(),
            code: RpcCode::from_code(code),
            message: message.to_owned(),
        });
    }
    if answer.get("id").and_then(Value::as_u64) != Some(id) {
        return Err(malformed("the id of the request"));
    }
    let result = answer.get("result").and_then(Value::as_array).map(Vec::as_slice);
    let (code, data) = match result {
        Some([code]) => (code, None),
        Some([code, data]) => (code, Some(data.clone())),
        _ => return Err(malformed("a status and at most one object as the result")),
    };
    let code = code.as_i64().ok_or_else(|| malformed("a number as the status"))?;
    match Status::from_code(code) {
        None => Ok(data),
        Some(status) => Err(UbusError::Status { object: object.to_owned(), method: method.to_owned(), status }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decoded(answer: &str) -> Result<Option<Value>, UbusError> {
        decode(7, "uci", "get", answer.as_bytes())
    }

    #[test]
    fn a_request_is_what_uhttpd_reads() {
        let body = encode(7, &SessionId::nobody(), "uci", "get", &json!({"config": "toys"})).unwrap();
        let expected = json!({
            "jsonrpc": "2.0", "id": 7, "method": "call",
            "params": ["00000000000000000000000000000000", "uci", "get", {"config": "toys"}],
        });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn a_request_of_the_limit_passes_and_one_more_does_not() {
        let args = |length: usize| json!({"x": "y".repeat(length)});
        let room = MAX_REQUEST - encode(7, &SessionId::nobody(), "o", "m", &args(0)).unwrap().len();
        assert_eq!(encode(7, &SessionId::nobody(), "o", "m", &args(room)).unwrap().len(), MAX_REQUEST);
        let error = encode(7, &SessionId::nobody(), "o", "m", &args(room + 1)).err().unwrap();
        assert_eq!(error.to_string(), "o m: the request has 65537 bytes, expected at most 65536");
        assert!(size("o", "m", &args(room)) >= MAX_REQUEST);
    }

    #[test]
    fn success_comes_with_data_or_without() {
        assert_eq!(decoded(r#"{"jsonrpc":"2.0","id":7,"result":[0]}"#).unwrap(), None);
        let data = decoded(r#"{"jsonrpc":"2.0","id":7,"result":[0,{"value":"red"}]}"#).unwrap();
        assert_eq!(data, Some(json!({"value": "red"})));
    }

    #[test]
    fn refusals_are_typed() {
        let error = decoded(r#"{"jsonrpc":"2.0","id":7,"result":[6]}"#).unwrap_err();
        assert_eq!(error.status(), Some(Status::PermissionDenied));
        assert_eq!(error.to_string(), "uci get: permission denied (6)");
        let denied = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32002,"message":"Access denied"}}"#;
        assert!(decoded(denied).unwrap_err().is_access_denied());
        // A request that uhttpd cannot read is answered without its id.
        let unread = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#;
        assert!(matches!(decoded(unread), Err(UbusError::Rpc { code: RpcCode::Parse, .. })));
    }

    #[test]
    fn whatever_else_comes_is_malformed() {
        for answer in [
            "",
            "<html>",
            "null",
            "5",
            "[]",
            "{}",
            r#"{"jsonrpc":"1.0","id":7,"result":[0]}"#,
            r#"{"jsonrpc":"2.0","id":8,"result":[0]}"#,
            r#"{"jsonrpc":"2.0","id":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":[]}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":["0"]}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":[0,{},{}]}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"code":0}}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":"no"}"#,
        ] {
            assert!(matches!(decoded(answer), Err(UbusError::Malformed { .. })), "{answer}");
        }
    }

    /// The transcripts that lie in `tests/transcripts`.
    fn transcripts() -> Vec<Value> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
        let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
        let texts = files.filter(|path| path.extension().is_some_and(|ext| ext == "jsonl"));
        let texts: Vec<_> = texts.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn any_answer_is_understood_or_refused() {
        let recorded = transcripts().into_iter().map(|step| step["reply"].to_string().into_bytes());
        let forms = [
            r#"{"jsonrpc":"2.0","id":7,"result":[0,{"values":{"a":{".type":"zone",".anonymous":true}}}]}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":[6]}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32002,"message":"Access denied"}}"#,
        ];
        let forms = forms.map(|form| form.as_bytes().to_vec());
        fuzz::Corpus::of(recorded.chain(forms)).run(|bytes| drop(decode(7, "uci", "get", bytes)));
    }

    #[test]
    fn what_was_recorded_is_what_is_sent_and_understood() {
        let (mut accepted, mut refused, mut denied) = (0, 0, 0);
        for step in transcripts() {
            let (request, reply, note) = (&step["request"], &step["reply"], &step["note"]);
            let Some(id) = request["id"].as_u64() else { continue };
            let word = |at: usize| request["params"][at].as_str().unwrap();
            let sent = encode(id, &SessionId::nobody(), word(1), word(2), &request["params"][3]).unwrap();
            let mut sent: Value = serde_json::from_slice(&sent).unwrap();
            sent["params"][0] = request["params"][0].clone();
            assert_eq!(sent, *request, "{note}");
            match decode(id, word(1), word(2), reply.to_string().as_bytes()) {
                Ok(data) => {
                    accepted += 1;
                    assert_eq!(
                        (reply["result"][0].as_i64(), data.as_ref()),
                        (Some(0), reply["result"].get(1)),
                        "{note}"
                    );
                }
                Err(UbusError::Status { status, .. }) => {
                    refused += 1;
                    assert_eq!(Some(status.code()), reply["result"][0].as_i64(), "{note}");
                }
                Err(UbusError::Rpc { code: RpcCode::AccessDenied, .. }) => {
                    denied += 1;
                    assert_eq!(reply["error"]["code"], -32002, "{note}");
                }
                Err(error) => panic!("{note}: {error}"),
            }
        }
        assert!(accepted > 300 && refused > 80 && denied >= 10, "{accepted} {refused} {denied}");
    }
}
