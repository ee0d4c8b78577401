//! Whole files: `config file` with `path`, `content` or `base64`, and where it matters `owner`, `group` and `mode`.

use std::fmt;

use super::source::Item;
use super::{DocumentError, Source};

/// A file that should be there.
#[derive(Clone, PartialEq, Eq)]
pub struct WantedFile {
    /// Its path, absolute.
    pub path: String,
    /// Its owner, by name or number.
    pub owner: String,
    /// Its group, by name or number.
    pub group: String,
    /// Its permissions.
    pub mode: u32,
    /// Its content; nothing where the file shall not be there.
    pub content: Option<Vec<u8>>,
    /// Whether people are shown it masked.
    pub is_secret: bool,
}

impl fmt::Debug for WantedFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, owner, group, mode, content, .. } = self;
        let bytes = content.as_ref().map(Vec::len);
        write!(out, "WantedFile({path} {owner}:{group} {mode:04o}, {bytes:?} bytes)")
    }
}

/// What dusk and UCI write themselves.
const RESERVED: &[(&str, &str)] = &[
    ("/etc/config/", "a section config/<package>"),
    ("/etc/dusk/", "another path: this folder is dusk's own"),
    ("/etc/crontabs/", "a section cron"),
    ("/etc/shadow", "a section passwords"),
    ("/etc/dropbear/authorized_keys", "a section keys"),
];

pub(super) fn read(source: &Source<'_>) -> Result<Vec<WantedFile>, DocumentError> {
    let mut files: Vec<WantedFile> = Vec::new();
    for item in source.items() {
        if item.section.kind().as_str() != "file" {
            return Err(item.unknown_kind("file"));
        }
        item.only(&["path", "owner", "group", "mode", "content", "base64", "delete", "secret"])?;
        let file = file(&item)?;
        if files.iter().any(|other| other.path == file.path) {
            return Err(item.error(Some("path"), format!("{} stands here twice: expected each file once", file.path)));
        }
        files.push(file);
    }
    Ok(files)
}

fn file(item: &Item<'_>) -> Result<WantedFile, DocumentError> {
    let path = item.needed("path", "an absolute path")?;
    if let Some(problem) = unfit(path) {
        return Err(item.error(Some("path"), format!("{path:?} {problem}")));
    }
    let mode = item.text("mode")?.unwrap_or("0644");
    let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777);
    let mode =
        mode.ok_or_else(|| item.error(Some("mode"), "does not do: expected permissions in octal, as in 0644"))?;
    let account = |option| {
        let name = item.text(option)?.unwrap_or("root");
        let is_good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        match is_good {
            true => Ok(name.to_owned()),
            false => Err(item.error(Some(option), format!("{name:?} does not do: expected a name or a number"))),
        }
    };
    let content = match (item.text("content")?, item.text("base64")?, item.flag("delete")?) {
        (None, None, true) => None,
        (Some(text), None, false) => Some(text.as_bytes().to_vec()),
        (None, Some(text), false) => {
            let dense: String = text.split_ascii_whitespace().collect();
            let bytes = data_encoding::BASE64.decode(dense.as_bytes());
            Some(bytes.map_err(|error| item.error(Some("base64"), format!("{error}: expected base64")))?)
        }
        // UCI has no empty value.
        (None, None, false) => Some(Vec::new()),
        _ => return Err(item.error(None, "expected one of content, base64 and delete")),
    };
    let (owner, group) = (account("owner")?, account("group")?);
    Ok(WantedFile { path: path.to_owned(), owner, group, mode, content, is_secret: item.flag("secret")? })
}

/// What is wrong with the path of a file.
fn unfit(path: &str) -> Option<String> {
    let is_plain = path.bytes().all(|b| b.is_ascii_graphic() && !b"'\"\\*?[$`;&|<>(){}".contains(&b));
    let is_clean = path.starts_with('/') && path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    if !is_plain || !is_clean || path.len() > 200 {
        return Some("does not do: expected an absolute path without blanks, quotes, \"..\" or \"//\"".to_owned());
    }
    let reserved = RESERVED.iter().find(|(prefix, _)| path.starts_with(prefix));
    if let Some((_, expected)) = reserved {
        return Some(format!("is written otherwise: expected {expected}"));
    }
    let lost = ["/tmp/", "/var/", "/proc/", "/sys/", "/dev/"].iter().find(|prefix| path.starts_with(**prefix));
    lost.map(|prefix| format!("does not outlive a boot: expected a path outside of {prefix}"))
}
