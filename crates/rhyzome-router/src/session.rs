//! Sessions: who has logged in, until when, with which rights, and what they have staged.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::acl::Grants;
use crate::json::{Json, Members};
use crate::tree::Change;

/// A moment on the router's own clock, counted from its start.
pub type Moment = Duration;

/// The id of callers that have not logged in.
pub const NOBODY: &str = "00000000000000000000000000000000";

/// The idle time after which a session ends, unless the login asked for another.
pub const DEFAULT_TIMEOUT: i64 = 300;

/// One session.
pub struct Session {
    timeout: i64,
    touched: Moment,
    /// What it may do.
    pub grants: Grants,
    /// What callers stored in it, by name; `username` is there from the login on.
    pub data: BTreeMap<String, Json>,
    /// What it has staged: config → steps. No entry is empty.
    pub staged: BTreeMap<String, Vec<Change>>,
}

/// All sessions by their ids.
pub struct Sessions {
    by_id: BTreeMap<String, Session>,
}

impl Session {
    /// A session that ends after `timeout` idle seconds; 0 is never.
    #[must_use]
    pub fn new(timeout: i64, grants: Grants, now: Moment) -> Self {
        Session { timeout: timeout.max(0), touched: now, grants, data: BTreeMap::new(), staged: BTreeMap::new() }
    }

    fn ends(&self) -> Option<Moment> {
        let timeout = u64::try_from(self.timeout).ok().filter(|timeout| *timeout > 0)?;
        Some(self.touched + Duration::from_secs(timeout))
    }

    /// The session as `login`, `create` and `list` show it.
    #[must_use]
    pub fn to_members(&self, id: &str, now: Moment) -> Members {
        let expires = self.ends().map_or(0, |end| end.saturating_sub(now).as_secs());
        let data = self.data.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        vec![
            ("ubus_rpc_session".to_owned(), id.into()),
            ("timeout".to_owned(), self.timeout.into()),
            ("expires".to_owned(), expires.into()),
            ("acls".to_owned(), self.grants.to_json()),
            ("data".to_owned(), Json::Object(data)),
        ]
    }
}

impl Sessions {
    /// No session but that of those who have not logged in, which has `grants` and never ends.
    #[must_use]
    pub fn new(grants: Grants, now: Moment) -> Self {
        Sessions { by_id: BTreeMap::from([(NOBODY.to_owned(), Session::new(0, grants, now))]) }
    }

    /// A session that has not ended; asking for it starts its idle time anew.
    pub fn touch(&mut self, id: &str, now: Moment) -> Option<&mut Session> {
        let session = self.by_id.get_mut(id)?;
        session.touched = now;
        Some(session)
    }

    /// A session that has not ended.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Session> {
        self.by_id.get(id)
    }

    /// A session that has not ended.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Session> {
        self.by_id.get_mut(id)
    }

    /// Takes in a session under an id that nobody has.
    pub fn insert(&mut self, id: String, session: Session) {
        self.by_id.insert(id, session);
    }

    /// Ends a session, and with it what it had staged.
    pub fn remove(&mut self, id: &str) {
        self.by_id.remove(id);
    }

    /// Ends the sessions that have been idle for too long.
    pub fn expire(&mut self, now: Moment) {
        self.by_id.retain(|_, session| session.ends().is_none_or(|end| now < end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_sessions_end_and_touched_ones_go_on() {
        let second = Duration::from_secs;
        let mut sessions = Sessions::new(Grants::default(), second(0));
        sessions.insert("a".into(), Session::new(2, Grants::default(), second(0)));
        sessions.insert("b".into(), Session::new(0, Grants::default(), second(0)));
        sessions.touch("a", second(1));
        sessions.expire(second(2));
        assert!(sessions.get("a").is_some());
        sessions.expire(second(3));
        assert!(sessions.get("a").is_none());
        assert!(sessions.get("b").is_some() && sessions.get(NOBODY).is_some());
    }
}
