//! Files as the router's clients see them: `/etc`, `/tmp` and the folders of rights and upgrades are the router's own,
//! the rest is the machine's.

use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use md5::{Digest, Md5};

use crate::json::{Json, Members, object};
use crate::question::{Encoding, FileAction, FileQuestion};
use crate::status::{Answer, DONE, Status, data};

/// The size from which on a file is not read, and at which the output of a command is cut.
pub const SIZE_LIMIT: u64 = 262_144;

/// Where the router's own folders lie on the machine.
#[derive(Clone, Debug)]
pub struct Root {
    /// What clients know as `/etc/config`.
    pub config: PathBuf,
    /// What clients know as `/tmp`.
    pub tmp: PathBuf,
    /// What clients know as `/usr/share/rpcd/acl.d`.
    pub acl: PathBuf,
    /// The folder of the other files that are the router's own, under the paths that clients know.
    pub own: PathBuf,
}

/// The folders whose files are the router's own and not the machine's.
const OWN: [&str; 2] = ["/etc", "/lib/upgrade"];

impl Root {
    /// Where a path of the router lies on the machine.
    #[must_use]
    pub fn place(&self, path: &str) -> PathBuf {
        let mounts = [("/etc/config", &self.config), ("/tmp", &self.tmp), ("/usr/share/rpcd/acl.d", &self.acl)];
        for (inside, outside) in mounts {
            match path.strip_prefix(inside) {
                Some("") => return outside.clone(),
                Some(rest) if rest.starts_with('/') => return outside.join(rest.trim_start_matches('/')),
                _ => {}
            }
        }
        if OWN
            .iter()
            .any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        {
            return self.own.join(path.trim_start_matches('/'));
        }
        PathBuf::from(path)
    }

    /// Does what is asked with a file.
    pub fn answer(&self, question: &FileQuestion) -> Answer {
        let place = self.place(&question.path);
        match &question.action {
            FileAction::Read(encoding) => read(&place, *encoding),
            FileAction::Write { data, append, mode } => write(&place, data, *append, *mode),
            FileAction::List => list(&place),
            FileAction::Stat => stat(&place, &question.path),
            FileAction::Md5 => md5(&place),
            FileAction::Remove => remove(&place),
        }
    }
}

fn failed(error: io::Error) -> Status {
    Status::of_io(&error)
}

fn read(place: &Path, encoding: Encoding) -> Answer {
    let metadata = std::fs::metadata(place).map_err(failed)?;
    if metadata.is_dir() {
        return Err(Status::NoData);
    }
    if metadata.len() >= SIZE_LIMIT {
        return Err(Status::NotSupported);
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(place).map_err(failed)?;
    file.take(SIZE_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.is_empty() {
        return Err(Status::NoData);
    }
    data(
        "data",
        match encoding {
            Encoding::Plain => String::from_utf8_lossy(&bytes).into_owned(),
            Encoding::Base64 => BASE64.encode(&bytes),
        },
    )
}

fn write(place: &Path, bytes: &[u8], append: bool, mode: Option<u32>) -> Answer {
    if place.is_dir() {
        return Err(Status::Unknown);
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).mode(mode.unwrap_or(0o644));
    if append {
        options.append(true);
    } else {
        options.write(true).truncate(true);
    }
    let mut file = options.open(place).map_err(failed)?;
    if let Some(mode) = mode {
        file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    DONE
}

fn list(place: &Path) -> Answer {
    let mut entries: Vec<(String, Json)> = Vec::new();
    for entry in std::fs::read_dir(place).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(metadata) = entry.metadata() else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut members = vec![("name".to_owned(), Json::from(name.as_str()))];
        members.extend(describe(&metadata));
        entries.push((name, Json::Object(members)));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    data("entries", Json::Array(entries.into_iter().map(|(_, entry)| entry).collect()))
}

fn stat(place: &Path, path: &str) -> Answer {
    let metadata = std::fs::metadata(place).map_err(failed)?;
    let mut members = vec![("path".to_owned(), Json::from(path))];
    members.extend(describe(&metadata));
    Ok(Some(members))
}

fn describe(metadata: &std::fs::Metadata) -> Members {
    let kind = metadata.file_type();
    let kind = if kind.is_file() {
        "file"
    } else if kind.is_dir() {
        "directory"
    } else if kind.is_symlink() {
        "symlink"
    } else {
        "unknown"
    };
    let described = object([
        ("type", kind.into()),
        ("size", metadata.len().into()),
        ("mode", metadata.mode().into()),
        ("atime", metadata.atime().into()),
        ("mtime", metadata.mtime().into()),
        ("ctime", metadata.ctime().into()),
        ("inode", metadata.ino().into()),
        ("uid", metadata.uid().into()),
        ("gid", metadata.gid().into()),
    ]);
    match described {
        Json::Object(members) => members,
        _ => Members::new(),
    }
}

fn md5(place: &Path) -> Answer {
    let mut file = std::fs::File::open(place).map_err(failed)?;
    let mut hash = Md5::new();
    io::copy(&mut file, &mut hash).map_err(failed)?;
    data("md5", HEXLOWER.encode(&hash.finalize()))
}

fn remove(place: &Path) -> Answer {
    std::fs::remove_file(place).map_err(failed)?;
    DONE
}
