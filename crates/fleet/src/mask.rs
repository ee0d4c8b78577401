//! What people are not shown.

use uci::{OptionName, PackageName, SectionType, Value};

/// What stands in the place of a secret.
pub const MASK: &str = "••••••";

/// Options that hold secrets whatever they belong to.
const OPTIONS: &[&str] = &[
    "key",
    "key1",
    "key2",
    "key3",
    "key4",
    "password",
    "passwd",
    "private_key",
    "preshared_key",
    "secret",
    "auth_secret",
    "acct_secret",
    "priv_key_pwd",
    "sae_password",
    "wpa_psk",
    "pincode",
    "token",
    "tsig",
    "hash",
];

/// Parts of names that give a secret away.
const PARTS: &[&str] = &["password", "passphrase", "secret", "private_key", "token", "_psk", "_key"];

/// Names that hold a part and are no secret.
const PUBLIC: &[&str] = &["public_key", "host_key", "ssh_key", "cert_key", "tls_key"];

/// Whether an option holds a secret.
#[must_use]
pub fn is_secret(_package: &PackageName, _kind: &SectionType, option: &OptionName) -> bool {
    let name = option.as_str().to_ascii_lowercase();
    !PUBLIC.contains(&name.as_str())
        && (OPTIONS.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part)))
}

/// A value as people are shown it.
#[must_use]
pub fn shown(value: &Value, is_secret: bool) -> String {
    match value {
        _ if is_secret => MASK.to_owned(),
        Value::Scalar(text) => format!("{text:?}"),
        Value::List(items) => format!("{items:?}"),
    }
}

/// The lines of a content as people are shown them: as its author wrote them, without the secrets.
#[must_use]
pub fn lines(content: &str) -> Vec<String> {
    let mut shown = Vec::new();
    let mut kind = String::new();
    // What begins on a hidden line and goes on is hidden to its end.
    let mut is_hidden = false;
    let sections = content.lines().scan(0, |at, line| {
        *at += usize::from(line.split_whitespace().next() == Some("config"));
        Some((*at, line))
    });
    let secret: Vec<usize> = sections.filter(|(_, line)| is_secret_file(line)).map(|(section, _)| section).collect();
    let mut section = 0;
    for line in content.lines() {
        let mut words = line.split_whitespace();
        let name = |word: Option<&str>| word.unwrap_or_default().trim_matches(['\'', '"']).to_owned();
        match words.next() {
            Some("config") => {
                (kind, is_hidden) = (name(words.next()), false);
                section += 1;
            }
            Some(word @ ("option" | "list")) => {
                let option = name(words.next());
                let is_content = secret.contains(&section) && matches!(option.as_str(), "content" | "base64");
                is_hidden = is_content || is_secret_option(&kind, &option);
                if is_hidden {
                    shown.push(format!("\t{word} {option} {MASK}"));
                }
            }
            Some(word) if word.starts_with('#') => is_hidden = false,
            _ => {}
        }
        if !is_hidden {
            shown.push(line.to_owned());
        }
    }
    shown
}

/// Whether a line says that a file's content is a secret.
fn is_secret_file(line: &str) -> bool {
    let words: Vec<_> = line.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
    matches!(words.as_slice(), ["option", "secret", value] if !matches!(*value, "0" | "off" | "no" | "false"))
}

fn is_secret_option(kind: &str, option: &str) -> bool {
    let known = (PackageName::new("any"), SectionType::new("any"), OptionName::new(option));
    let (Ok(package), Ok(any), Ok(option)) = known else { return true };
    // A line of authorized_keys, and that a file is one.
    let is_public = matches!((kind, option.as_str()), ("key", "key") | ("file", "secret"));
    kind == "secrets" || !is_public && is_secret(&package, &any, &option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_shown_without_its_secrets() {
        let content = "# ours\nconfig wifi-iface 'a'\n\toption key 'hunter\n22'\n\toption ssid 'one'\n\nconfig secrets\n\
                       \toption mesh 'hunter23'\nconfig file\n\toption path '/x'\n\toption content 'hunter24'\n\
                       \toption secret '1'\nconfig file\n\toption content 'seen'\nconfig key\n\toption key 'ssh-ed25519 A'\n";
        let shown = lines(content).join("\n");
        assert!(!shown.contains("hunter") && !shown.contains("22'"), "{shown}");
        for seen in ["# ours", "option ssid 'one'", "option path '/x'", "'seen'", "ssh-ed25519 A"] {
            assert!(shown.contains(seen), "{shown}");
        }
        assert_eq!(shown.matches(MASK).count(), 3);
    }
}
