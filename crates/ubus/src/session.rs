//! Sessions: logged in, kept, ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use types::SecretText;
use uci::{Config, PackageName};

use crate::rights::Rights;
use crate::{SessionId, Status, Ubus, UbusError, staging};

/// How long root's sessions last without a call, as those of a login do.
const ROOT_TIMEOUT: Duration = Duration::from_secs(300);

/// A user of rpcd and its password.
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: SecretText,
}

/// How sessions come about.
enum Entry {
    /// By a login.
    Login(Credentials),
    /// By root's word on the router's own socket, where nobody asks for a password.
    Root,
}

/// A session of rpcd. It ends when nobody called in it for its timeout, and what was staged in it with it.
pub struct Session {
    ubus: Arc<dyn Ubus>,
    id: SessionId,
    timeout: Duration,
    rights: Rights,
}

impl Session {
    /// Logs in. Where another session of the same user waits for its changes to be confirmed, rpcd gives that one.
    ///
    /// # Errors
    /// When the call fails or the login is refused.
    pub async fn login(
        ubus: Arc<dyn Ubus>,
        credentials: &Credentials,
        timeout: Option<Duration>,
    ) -> Result<Self, UbusError> {
        let mut args = json!({
            "username": credentials.username,
            "password": credentials.password.reveal(),
        });
        if let Some(timeout) = timeout {
            args["timeout"] = json!(timeout.as_secs());
        }
        let answer = ubus.call(&SessionId::nobody(), "session", "login", args).await;
        let answer = answer.map_err(|error| match error.status() {
            Some(Status::PermissionDenied) => UbusError::Login { username: credentials.username.clone() },
            _ => error,
        })?;
        let malformed = |expected: &str| UbusError::malformed("session", "login", expected);
        let answer = answer.ok_or_else(|| malformed("a session"))?;
        let id = answer.get("ubus_rpc_session").and_then(Value::as_str).and_then(SessionId::parse);
        let id = id.ok_or_else(|| malformed("32 hexadecimal digits as ubus_rpc_session"))?;
        let timeout = answer.get("timeout").and_then(Value::as_u64);
        let timeout = timeout.ok_or_else(|| malformed("a number of seconds as timeout"))?;
        let rights = answer.get("acls").map(Rights::from_acls).unwrap_or_default();
        Ok(Self { ubus, id, timeout: Duration::from_secs(timeout), rights })
    }

    /// Makes a session that may do everything. rpcd does that for root on the router's own socket, and for nobody else.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn of_root(ubus: Arc<dyn Ubus>, timeout: Option<Duration>) -> Result<Self, UbusError> {
        let timeout = timeout.unwrap_or(ROOT_TIMEOUT);
        let args = json!({"timeout": timeout.as_secs()});
        let answer = ubus.call(&SessionId::nobody(), "session", "create", args).await?;
        let id = answer.as_ref().and_then(|answer| answer.get("ubus_rpc_session"));
        let id = id.and_then(Value::as_str).and_then(SessionId::parse);
        let expected = "32 hexadecimal digits as ubus_rpc_session";
        let id = id.ok_or_else(|| UbusError::malformed("session", "create", expected))?;
        let everything = json!({"ubus": {"*": ["*"]}, "uci": {"*": ["read", "write"]}, "file": {"*": ["*"]}});
        let rights = Rights::from_acls(&everything);
        let session = Self { ubus, id, timeout, rights };
        for (scope, verbs) in [("ubus", &["*"][..]), ("uci", &["read", "write"]), ("file", &["*"])] {
            let objects: Vec<_> = verbs.iter().map(|verb| ["*", verb]).collect();
            session.call("session", "grant", json!({"scope": scope, "objects": objects})).await?;
        }
        Ok(session)
    }

    /// Calls a method in the session.
    ///
    /// # Errors
    /// When the call fails; an expired session is [`UbusError::is_access_denied`].
    pub async fn call(&self, object: &str, method: &str, args: Value) -> Result<Option<Value>, UbusError> {
        self.ubus.call(&self.id, object, method, args).await
    }

    /// How long the session lasts without a call.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Ends the session; what was staged in it is gone then.
    ///
    /// # Errors
    /// When the call fails. A session that has ended already is success.
    pub async fn destroy(self) -> Result<(), UbusError> {
        match self.call("session", "destroy", json!({})).await {
            Err(error) if !error.is_access_denied() => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether both are the same session of rpcd.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.id.reveal() == other.id.reveal()
    }

    /// What the login said that the session may do.
    #[must_use]
    pub fn rights(&self) -> &Rights {
        &self.rights
    }
}

/// A router and a login to it. One session is kept for calls that change nothing; when it has expired, another is made.
pub struct Client {
    ubus: Arc<dyn Ubus>,
    entry: Entry,
    kept: Mutex<Option<Arc<Session>>>,
}

impl Client {
    /// A client that logs in when it has to.
    #[must_use]
    pub fn new(ubus: Arc<dyn Ubus>, credentials: Credentials) -> Self {
        Self { ubus, entry: Entry::Login(credentials), kept: Mutex::new(None) }
    }

    /// A client on the router itself, as root, over its own socket.
    #[must_use]
    pub fn of_root(ubus: Arc<dyn Ubus>) -> Self {
        Self { ubus, entry: Entry::Root, kept: Mutex::new(None) }
    }

    /// Calls a method in the kept session. When access is denied in a session that was not made just before, logs in
    /// again and tries once more, as a session that has expired looks the same.
    ///
    /// # Errors
    /// When a call or a login fails.
    pub async fn call(&self, object: &str, method: &str, args: Value) -> Result<Option<Value>, UbusError> {
        if let Some(session) = self.kept() {
            match session.call(object, method, args.clone()).await {
                Err(error) if error.is_access_denied() => self.forget(),
                done => return done,
            }
        }
        let session = Arc::new(self.login(None).await?);
        self.keep(Arc::clone(&session));
        session.call(object, method, args).await.map_err(|error| match error.is_access_denied() {
            true => UbusError::Denied { object: object.to_owned(), method: method.to_owned() },
            false => error,
        })
    }

    /// Reads packages as they are, without anybody's staged changes.
    ///
    /// # Errors
    /// When a call fails; a package that is not there is [`Status::NotFound`].
    pub async fn read(&self, packages: &[PackageName]) -> Result<Config, UbusError> {
        let mut config = Config::new();
        for name in packages {
            let answer = self.call("uci", "get", json!({"config": name.as_str()})).await?;
            config.insert(staging::package(name, answer)?);
        }
        Ok(config)
    }

    /// A session of its own, of which nobody else in this program knows.
    ///
    /// # Errors
    /// When the call fails or the login is refused.
    pub async fn login(&self, timeout: Option<Duration>) -> Result<Session, UbusError> {
        match &self.entry {
            Entry::Login(credentials) => Session::login(Arc::clone(&self.ubus), credentials, timeout).await,
            Entry::Root => Session::of_root(Arc::clone(&self.ubus), timeout).await,
        }
    }

    fn kept(&self) -> Option<Arc<Session>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn forget(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn keep(&self, session: Arc<Session>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }
}
