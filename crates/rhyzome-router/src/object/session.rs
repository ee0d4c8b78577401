//! The object `session` (rpcd's session.c).

use std::fmt::Write;

use crate::account;
use crate::acl::{self, Grants};
use crate::json::{Json, member};
use crate::rpcd::{Call, Rpcd};
use crate::session::{DEFAULT_TIMEOUT, NOBODY, Session};
use crate::status::{Answer, DONE, Status, data};

pub(crate) fn call(rpcd: &mut Rpcd, method: &str, call: &Call<'_>) -> Answer {
    match method {
        "login" => login(rpcd, call),
        "create" => create(rpcd, call),
        "list" => show(rpcd, call.sid, call),
        "access" => access(rpcd, call),
        "grant" => grant(rpcd, call),
        "revoke" => revoke(rpcd, call),
        "set" => set(rpcd, call),
        "get" => get(rpcd, call),
        "unset" => unset(rpcd, call),
        "destroy" => destroy(rpcd, call),
        _ => Err(Status::MethodNotFound),
    }
}

fn login(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let (Some(user), Some(password)) = (call.text("username"), call.text("password")) else {
        return Err(Status::InvalidArgument);
    };
    let logins = rpcd.configs.load_or_empty("rpcd");
    let membership = account::login(&logins, &rpcd.passwords, user, password).ok_or(Status::PermissionDenied)?;

    // Who has an apply to confirm gets the session back that can confirm it.
    if let Some(applying) = rpcd.pending.as_ref().map(|pending| pending.sid().to_owned())
        && let Some(session) = rpcd.sessions.touch(&applying, call.now)
        && session.data.get("username").and_then(Json::as_text) == Some(user)
    {
        return show(rpcd, &applying, call);
    }

    let timeout = call.number("timeout").map_or(DEFAULT_TIMEOUT, i64::from);
    let mut session = Session::new(timeout, acl::grants(&rpcd.acl_dir, &membership), call.now);
    session.data.insert("username".to_owned(), user.into());
    let id = new_id(rpcd);
    rpcd.sessions.insert(id.clone(), session);
    show(rpcd, &id, call)
}

fn create(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let timeout = call.number("timeout").map_or(DEFAULT_TIMEOUT, i64::from);
    let id = new_id(rpcd);
    rpcd.sessions.insert(id.clone(), Session::new(timeout, Grants::default(), call.now));
    show(rpcd, &id, call)
}

fn new_id(rpcd: &mut Rpcd) -> String {
    loop {
        let id = (rpcd.new_id)().iter().fold(String::new(), |mut id, byte| {
            let _ = write!(id, "{byte:02x}"); // writing to a string cannot fail
            id
        });
        if rpcd.sessions.get(&id).is_none() {
            return id;
        }
    }
}

fn show(rpcd: &Rpcd, id: &str, call: &Call<'_>) -> Answer {
    let session = rpcd.sessions.get(id).ok_or(Status::NotFound)?;
    Ok(Some(session.to_members(id, call.now)))
}

fn access(rpcd: &Rpcd, call: &Call<'_>) -> Answer {
    let session = rpcd.sessions.get(call.sid).ok_or(Status::NotFound)?;
    let (Some(object), Some(function)) = (call.text("object"), call.text("function")) else {
        return match session.grants.to_json() {
            Json::Object(members) => Ok(Some(members)),
            _ => DONE,
        };
    };
    let scope = call.text("scope").unwrap_or("ubus");
    data("access", session.grants.allow(scope, object, function))
}

/// The pairs of object and function in the argument `objects`; what is no pair of strings is left out.
fn pairs(objects: &[Json]) -> impl Iterator<Item = (&str, &str)> {
    objects.iter().filter_map(|pair| match pair {
        Json::Array(pair) => Some((pair.first()?.as_text()?, pair.get(1)?.as_text()?)),
        _ => None,
    })
}

fn grant(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let objects = call.array("objects").ok_or(Status::InvalidArgument)?;
    let session = rpcd.sessions.get_mut(call.sid).ok_or(Status::NotFound)?;
    let scope = call.text("scope").unwrap_or("ubus");
    pairs(objects).for_each(|(object, function)| session.grants.grant(scope, object, function));
    DONE
}

fn revoke(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let session = rpcd.sessions.get_mut(call.sid).ok_or(Status::NotFound)?;
    let scope = call.text("scope").unwrap_or("ubus");
    match call.array("objects") {
        Some(objects) => pairs(objects).for_each(|(object, function)| session.grants.revoke(scope, object, function)),
        None => session.grants.revoke_scope(scope),
    }
    DONE
}

fn set(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let values = call.members("values").ok_or(Status::InvalidArgument)?;
    let session = rpcd.sessions.get_mut(call.sid).ok_or(Status::NotFound)?;
    session.data.extend(values.iter().cloned());
    DONE
}

fn get(rpcd: &Rpcd, call: &Call<'_>) -> Answer {
    let session = rpcd.sessions.get(call.sid).ok_or(Status::NotFound)?;
    let wanted: Option<Vec<&str>> = call.array("keys").map(|keys| keys.iter().filter_map(Json::as_text).collect());
    let values = session
        .data
        .iter()
        .filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted.contains(&name.as_str())))
        .map(|(name, value)| (name.clone(), value.clone()));
    data("values", Json::Object(values.collect()))
}

fn unset(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let session = rpcd.sessions.get_mut(call.sid).ok_or(Status::NotFound)?;
    match member(call.args, "keys") {
        Some(Json::Array(keys)) => {
            for key in keys.iter().filter_map(Json::as_text) {
                session.data.remove(key);
            }
        }
        _ => session.data.clear(),
    }
    DONE
}

fn destroy(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    if call.sid == NOBODY {
        return Err(Status::PermissionDenied);
    }
    rpcd.sessions.remove(call.sid);
    DONE
}
