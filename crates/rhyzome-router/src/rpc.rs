//! uhttpd's JSON-RPC: what a request body means, and what goes back. No input or output.

use crate::json::{Json, Members, object};
use crate::rpcd::Refusal;
use crate::status::Answer;

/// The longest request body that is read, in bytes.
pub const BODY_LIMIT: usize = 65_536;

/// A request body.
#[derive(Debug)]
pub enum Body {
    /// One request.
    One(Request),
    /// A batch, which is answered by an array in the same order.
    Batch(Vec<Request>),
}

/// One request and the id that its reply echoes.
#[derive(Debug)]
pub struct Request {
    /// Any JSON; null if there was none.
    pub id: Json,
    /// What is wanted, or why that is not known.
    pub wish: Result<Wish, Fault>,
}

/// What a request wants.
#[derive(Debug, PartialEq)]
pub enum Wish {
    /// A call of a ubus method.
    Call {
        /// The session.
        sid: String,
        /// The object.
        object: String,
        /// Its method.
        method: String,
        /// The arguments.
        args: Members,
    },
    /// The names of all objects.
    Names,
    /// The signatures of the objects that match these patterns.
    List(Vec<String>),
}

/// An error of JSON-RPC: a request that is not answered by a ubus status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No JSON, or no request.
    Parse,
    /// Neither `call` nor `list`.
    Method,
    /// The call is refused.
    Refused(Refusal),
    /// The call took too long.
    Timeout,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Fault::Refused(refusal)
    }
}

impl Fault {
    fn code_and_message(self) -> (i64, &'static str) {
        match self {
            Fault::Parse => (-32700, "Parse error"),
            Fault::Method => (-32601, "Method not found"),
            Fault::Refused(Refusal::Arguments) => (-32602, "Invalid parameters"),
            Fault::Refused(Refusal::NoObject) => (-32000, "Object not found"),
            Fault::Refused(Refusal::Denied) => (-32002, "Access denied"),
            Fault::Timeout => (-32003, "ubus request timed out"),
        }
    }
}

/// Reads a request body.
#[must_use]
pub fn parse(bytes: &[u8]) -> Body {
    match serde_json::from_slice::<Json>(bytes) {
        Ok(Json::Array(items)) => Body::Batch(items.into_iter().map(request).collect()),
        Ok(value) => Body::One(request(value)),
        Err(_) => Body::One(Request { id: Json::Null, wish: Err(Fault::Parse) }),
    }
}

fn request(value: Json) -> Request {
    let Json::Object(members) = value else { return Request { id: Json::Null, wish: Err(Fault::Parse) } };
    let mut id = Json::Null;
    let (mut version, mut method, mut params) = (None, None, None);
    for (name, value) in members {
        match name.as_str() {
            "id" => id = value,
            "jsonrpc" => version = Some(value),
            "method" => method = Some(value),
            "params" => params = Some(value),
            _ => {}
        }
    }
    let wish = match (version, method) {
        (Some(Json::Text(version)), Some(Json::Text(method))) if version == "2.0" => wish(&method, params),
        _ => Err(Fault::Parse),
    };
    Request { id, wish }
}

fn wish(method: &str, params: Option<Json>) -> Result<Wish, Fault> {
    match (method, params) {
        ("call", Some(Json::Array(params))) => {
            let mut params = params.into_iter();
            match (params.next(), params.next(), params.next(), params.next()) {
                (
                    Some(Json::Text(sid)),
                    Some(Json::Text(object)),
                    Some(Json::Text(method)),
                    Some(Json::Object(args)),
                ) => Ok(Wish::Call { sid, object, method, args }),
                _ => Err(Fault::Parse),
            }
        }
        ("call", _) => Err(Fault::Parse),
        ("list", None) => Ok(Wish::Names),
        ("list", Some(Json::Array(params))) => {
            let patterns = params.into_iter().skip(1).filter_map(|param| match param {
                Json::Text(pattern) => Some(pattern),
                _ => None,
            });
            Ok(Wish::List(patterns.collect()))
        }
        ("list", _) => Err(Fault::Parse),
        _ => Err(Fault::Method),
    }
}

/// The reply with a result.
#[must_use]
pub fn reply(id: Json, result: Json) -> Json {
    object([("jsonrpc", "2.0".into()), ("id", id), ("result", result)])
}

/// The reply with an error of JSON-RPC.
#[must_use]
pub fn error(id: Json, fault: Fault) -> Json {
    let (code, message) = fault.code_and_message();
    failure(id, code, message)
}

fn failure(id: Json, code: i64, message: &str) -> Json {
    let error = object([("code", code.into()), ("message", message.into())]);
    object([("jsonrpc", "2.0".into()), ("id", id), ("error", error)])
}

/// The result that a ubus answer is: `[code]` or `[0, {data}]`.
#[must_use]
pub fn result(answer: Answer) -> Json {
    Json::Array(match answer {
        Ok(None) => vec![Json::Int(0)],
        Ok(Some(data)) => vec![Json::Int(0), Json::Object(data)],
        Err(status) => vec![Json::Int(status as i64)],
    })
}

/// Reads the body of uhttpd's second form, where the object stands in the path and the session in a header.
#[must_use]
pub fn parse_bare(bytes: &[u8], object: &str, sid: &str) -> Request {
    let Ok(value) = serde_json::from_slice::<Json>(bytes) else {
        return Request { id: Json::Null, wish: Err(Fault::Parse) };
    };
    let id = value.get("id").cloned().unwrap_or(Json::Null);
    let wish = match (value.get("jsonrpc"), value.get("method"), value.get("params")) {
        (Some(Json::Text(version)), Some(Json::Text(method)), Some(Json::Object(args))) if version == "2.0" => {
            Ok(Wish::Call {
                sid: sid.to_owned(),
                object: object.to_owned(),
                method: method.clone(),
                args: args.clone(),
            })
        }
        _ => Err(Fault::Parse),
    };
    Request { id, wish }
}

/// The reply of the second form: the bare data, or the status as an error.
#[must_use]
pub fn reply_bare(id: Json, answer: Answer) -> Json {
    match answer {
        Ok(data) => reply(id, Json::Object(data.unwrap_or_default())),
        Err(status) => failure(id, status as i64, status.message()),
    }
}
