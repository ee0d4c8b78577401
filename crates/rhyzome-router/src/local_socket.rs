//! ubusd: the local socket in front of the same objects, for programs on the router itself. It asks for no rights of its
//! own; `uci` and `file` ask for those of the session that a call names, and let a call without one do everything.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use ubus::blob;
use ubus::message::{DATA, Kind, METHOD, Message, OBJECT, PATH, STATUS};

use crate::json::Members;
use crate::router::{Machine, Router};
use crate::rpc;
use crate::rpcd::Refusal;
use crate::status::{Answer, Status};

/// How many clients are served at once; more wait.
const CLIENTS: usize = 64;

/// A bound socket.
pub struct LocalSocket {
    listener: UnixListener,
}

impl LocalSocket {
    /// Binds a socket that its owner alone can use, in the place of what an earlier run left there.
    ///
    /// # Errors
    /// As the file system says.
    pub fn bind(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The folder is private, so that nobody comes in between.
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener })
    }

    /// Serves for as long as it is polled.
    pub async fn serve<M: Machine>(self, router: Arc<Router<M>>) {
        let mut clients = JoinSet::new();
        let slots = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let Ok((stream, _)) = self.listener.accept().await else { continue };
            while clients.try_join_next().is_some() {}
            let (router, slots) = (Arc::clone(&router), Arc::clone(&slots));
            clients.spawn(async move {
                let _slot = slots.acquire_owned().await.expect("invariant: the semaphore is never closed");
                if let Err(error) = (Client { stream, router, found: Vec::new() }).serve().await {
                    tracing::debug!(%error, "a client of the local socket is gone");
                }
            });
        }
    }
}

/// A client, and the objects that it has looked up: their numbers are their places here, from 1.
struct Client<M> {
    stream: UnixStream,
    router: Arc<Router<M>>,
    found: Vec<String>,
}

impl<M: Machine> Client<M> {
    async fn serve(mut self) -> io::Result<()> {
        Message::new(Kind::Hello, 0, 1, Vec::new()).write(&mut self.stream).await?;
        loop {
            let message = match Message::read(&mut self.stream).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            };
            let status = match message.kind {
                kind if kind == Kind::Lookup as u8 => self.look_up(&message).await?,
                kind if kind == Kind::Invoke as u8 => self.invoke(&message).await?,
                kind if kind == Kind::Ping as u8 => 0,
                // Invalid command: nobody offers objects of his own here.
                _ => 1,
            };
            let mut body = Vec::new();
            blob::put(&mut body, STATUS, &status.to_be_bytes());
            Message::new(Kind::Status, message.sequence, message.peer, body).write(&mut self.stream).await?;
        }
    }

    async fn look_up(&mut self, message: &Message) -> io::Result<u32> {
        let pattern = message.attribute(PATH).and_then(|content| blob::text(content).ok()).unwrap_or("*").to_owned();
        let names = self.router.object_names();
        let fits = |name: &&String| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => **name == pattern,
        };
        let mut status = Status::NotFound as u32;
        for name in names.iter().filter(fits) {
            status = 0;
            let at = self.found.iter().position(|known| known == name).unwrap_or(self.found.len());
            if at == self.found.len() {
                self.found.push(name.clone());
            }
            let mut body = Vec::new();
            blob::put_text(&mut body, PATH, name);
            blob::put(&mut body, OBJECT, &u32::try_from(at + 1).unwrap_or(u32::MAX).to_be_bytes());
            Message::new(Kind::Data, message.sequence, 0, body).write(&mut self.stream).await?;
        }
        Ok(status)
    }

    async fn invoke(&mut self, message: &Message) -> io::Result<u32> {
        let object = message.attribute(OBJECT).and_then(|content| blob::number(content).ok());
        let object = object.and_then(|number| self.found.get(usize::try_from(number).ok()?.checked_sub(1)?).cloned());
        let Some(object) = object else { return Ok(Status::NotFound as u32) };
        let method = message.attribute(METHOD).and_then(|content| blob::text(content).ok());
        let Some(method) = method.map(str::to_owned) else { return Ok(Status::InvalidArgument as u32) };
        let args = message.attribute(DATA).map_or(Ok(Map::new()), blob::decode);
        let Some(args) = args.ok().and_then(read) else { return Ok(Status::InvalidArgument as u32) };
        Ok(match self.router.call_local(object, method, args).await {
            Ok(Ok(data)) => {
                if let Some(data) = data.as_ref().map(written) {
                    let mut body = Vec::new();
                    blob::put(&mut body, OBJECT, &message.peer.to_be_bytes());
                    blob::put(&mut body, DATA, &blob::encode(&data));
                    Message::new(Kind::Data, message.sequence, message.peer, body).write(&mut self.stream).await?;
                }
                0
            }
            Ok(Err(status)) => status as u32,
            Err(rpc::Fault::Refused(Refusal::NoObject)) => Status::NotFound as u32,
            Err(_) => Status::Timeout as u32,
        })
    }
}

/// Arguments as the state machine takes them.
fn read(args: Map<String, Value>) -> Option<Members> {
    match serde_json::from_value(Value::Object(args)).ok()? {
        crate::json::Json::Object(members) => Some(members),
        _ => None,
    }
}

/// The data of an answer, for blobmsg.
fn written(data: &Members) -> Map<String, Value> {
    let members = data.iter().map(|(name, value)| (name.clone(), serde_json::to_value(value).unwrap_or_default()));
    members.collect()
}

/// What a call over the socket comes to.
pub(crate) type Called = Result<Answer, rpc::Fault>;
