//! Who may log in: rpcd's logins from the config `rpcd`, and the passwords of the router's own users.

use std::collections::BTreeMap;

use types::SecretText;

use crate::acl::Membership;
use crate::crypt;
use crate::tree::Tree;

/// The passwords of the router's users, which `$p$name` in config `rpcd` refers to as OpenWrt's does to /etc/shadow.
#[derive(Default)]
pub struct Passwords(BTreeMap<String, SecretText>);

impl Passwords {
    /// The password of `user` from here on.
    pub fn insert(&mut self, user: String, password: SecretText) {
        self.0.insert(user, password);
    }

    fn is(&self, user: &str, password: &str) -> bool {
        self.0.get(user).is_some_and(|known| crypt::same(known.reveal().as_bytes(), password.as_bytes()))
    }
}

/// The groups of the first login in config `rpcd` that has this name and this password.
#[must_use]
pub fn login(rpcd: &Tree, passwords: &Passwords, user: &str, password: &str) -> Option<Membership> {
    rpcd.of_kind("login")
        .filter(|login| login.text("username") == Some(user))
        .find(|login| match login.text("password") {
            Some(reference) if reference.starts_with("$p$") => passwords.is(&reference[3..], password),
            Some(hash) => crypt::matches(hash, password),
            None => false,
        })
        .map(|login| Membership { read: owned(&login.list("read")), write: owned(&login.list("write")) })
}

fn owned(items: &[&str]) -> Vec<String> {
    items.iter().map(|&item| item.to_owned()).collect()
}
