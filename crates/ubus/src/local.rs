//! ubus over its local socket, for programs on the router itself.
//!
//! ubusd asks root for no rights. rpcd's objects `uci` and `file` do, as over HTTP: each call bears its session, and what
//! the session lacks is refused.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::message::{DATA, Kind, LONGEST, METHOD, Message, OBJECT, PATH, STATUS};
use crate::{RpcCode, SessionId, Status, Ubus, UbusError, blob};

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// The ubus of the router that this program runs on. Each call has a connection of its own.
#[derive(Clone, Debug)]
pub struct Local {
    socket: PathBuf,
    deadline: Duration,
}

impl Local {
    /// Where OpenWrt has the socket.
    pub const SOCKET: &str = "/var/run/ubus/ubus.sock";

    /// The ubus at this socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), deadline: DEADLINE }
    }

    /// The same with another deadline for calls.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    async fn exchange(&self, object: &str, method: &str, args: Map<String, Value>) -> Result<Option<Value>, UbusError> {
        let call = Call { object, method };
        let mut stream = UnixStream::connect(&self.socket).await.map_err(|error| call.lost(error))?;
        let hello = Message::read(&mut stream).await.map_err(|error| call.lost(error))?;
        if hello.kind != Kind::Hello as u8 {
            return Err(call.malformed("a greeting from ubusd"));
        }
        let mut body = Vec::new();
        blob::put_text(&mut body, PATH, object);
        let found = call.ask(&mut stream, Message::new(Kind::Lookup, 1, 0, body)).await?;
        let number = match found {
            (0, Some(message)) => message.attribute(OBJECT).and_then(|content| blob::number(content).ok()),
            _ => {
                let (object, method) = (object.to_owned(), method.to_owned());
                let message = "Object not found".to_owned();
                return Err(UbusError::Rpc { object, method, code: RpcCode::ObjectNotFound, message });
            }
        };
        let number = number.ok_or_else(|| call.malformed("an object's number"))?;
        let mut body = Vec::new();
        blob::put(&mut body, OBJECT, &number.to_be_bytes());
        blob::put_text(&mut body, METHOD, method);
        blob::put(&mut body, DATA, &blob::encode(&args));
        if body.len() + 12 > LONGEST {
            let (object, method, size) = (object.to_owned(), method.to_owned(), body.len() + 12);
            return Err(UbusError::RequestTooLarge { object, method, size, limit: LONGEST });
        }
        let (status, answer) = call.ask(&mut stream, Message::new(Kind::Invoke, 2, number, body)).await?;
        if let Some(status) = Status::from_code(status.into()) {
            return Err(UbusError::Status { object: object.to_owned(), method: method.to_owned(), status });
        }
        let Some(data) = answer.as_ref().and_then(|answer| answer.attribute(DATA)) else { return Ok(None) };
        let data = blob::decode(data).map_err(|_| call.malformed("an answer in blobmsg"))?;
        Ok(Some(Value::Object(data)))
    }

    /// Whether rpcd knows the session: it refuses an unknown one in the words in which it refuses a right.
    async fn is_known(&self, session: &SessionId) -> bool {
        let mut args = Map::new();
        args.insert(SID.to_owned(), session.reveal().into());
        let found = self.exchange("session", "access", args).await;
        !matches!(found, Err(error) if error.status() == Some(Status::NotFound))
    }
}

/// The argument that says in which session a call is made.
const SID: &str = "ubus_rpc_session";

struct Call<'a> {
    object: &'a str,
    method: &'a str,
}

impl Call<'_> {
    /// Sends a message and gives the status of the answer and its last part.
    async fn ask(&self, stream: &mut UnixStream, message: Message) -> Result<(u32, Option<Message>), UbusError> {
        message.write(stream).await.map_err(|error| self.lost(error))?;
        let mut last = None;
        loop {
            let part = Message::read(stream).await.map_err(|error| self.lost(error))?;
            if part.sequence != message.sequence {
                continue;
            }
            if part.kind == Kind::Data as u8 {
                last = Some(part);
            } else if part.kind == Kind::Status as u8 {
                let status = part.attribute(STATUS).and_then(|content| blob::number(content).ok());
                return Ok((status.ok_or_else(|| self.malformed("a status"))?, last));
            }
        }
    }

    fn lost(&self, error: std::io::Error) -> UbusError {
        if error.kind() == std::io::ErrorKind::InvalidData {
            return self.malformed(&error.to_string());
        }
        let (object, method) = (self.object.to_owned(), self.method.to_owned());
        UbusError::Transport { object, method, source: Box::new(error) }
    }

    fn malformed(&self, expected: &str) -> UbusError {
        UbusError::malformed(self.object, self.method, expected)
    }
}

#[async_trait]
impl Ubus for Local {
    async fn call(
        &self,
        session: &SessionId,
        object: &str,
        method: &str,
        args: Value,
    ) -> Result<Option<Value>, UbusError> {
        let Value::Object(mut args) = args else {
            return Err(UbusError::malformed(object, method, "an object as arguments"));
        };
        let is_nobody = session.reveal() == SessionId::nobody().reveal();
        if !is_nobody {
            args.insert(SID.to_owned(), json!(session.reveal()));
        }
        let call = async {
            match self.exchange(object, method, args).await {
                Err(error)
                    if !is_nobody
                        && matches!(error.status(), Some(Status::PermissionDenied | Status::NotFound))
                        && !self.is_known(session).await =>
                {
                    let (object, method, message) = (object.to_owned(), method.to_owned(), "Access denied".to_owned());
                    Err(UbusError::Rpc { object, method, code: RpcCode::AccessDenied, message })
                }
                done => done,
            }
        };
        let limit = timeout(self.deadline, call).await;
        limit.unwrap_or_else(|_| {
            let (object, method) = (object.to_owned(), method.to_owned());
            Err(UbusError::Deadline { object, method, deadline: self.deadline })
        })
    }
}
