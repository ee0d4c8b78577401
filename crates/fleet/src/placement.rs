//! The files of a device that are not UCI: what they should hold, given what they hold.

use std::collections::BTreeMap;

use crate::SectionPath;
use crate::document::Kind;
use crate::effective::Effective;
use crate::ground::{FileBefore, Ground};

/// Where SSH keys of people who may log in stand.
pub const KEYS: &str = "/etc/dropbear/authorized_keys";
/// Where root's jobs stand.
pub const CRON: &str = "/etc/crontabs/root";
/// Where password hashes stand.
pub const SHADOW: &str = "/etc/shadow";

const BEGIN: &str = "# dusk: what stands from here";
const END: &str = "# dusk: to here comes from the fleet";

/// A file as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its path.
    pub path: String,
    /// Its owner, by name or number; nothing where it stays as it is, or is root for a file that is made.
    pub owner: Option<String>,
    /// Its group, the same.
    pub group: Option<String>,
    /// Its permissions, the same, or 0600.
    pub mode: Option<u32>,
    /// What it should hold; nothing where it should not be there.
    pub content: Option<Vec<u8>>,
    /// The section of the fleet that says so; nothing where it goes back to what it was.
    pub origin: Option<SectionPath>,
}

/// The files that should be otherwise, and the ground once they are. `found` says what there is of a file.
#[must_use]
pub fn placements(
    effective: &Effective,
    ground: &Ground,
    found: impl Fn(&str) -> Option<FileBefore>,
) -> (Vec<Placement>, BTreeMap<String, Option<FileBefore>>) {
    let mut placements = Vec::new();
    let mut files = BTreeMap::new();
    let are_frozen = effective.is_frozen(&Kind::Files);
    for (path, before) in &ground.files {
        if are_frozen {
            files.insert(path.clone(), before.clone());
        } else if !effective.files.contains_key(path) {
            let number = |number: fn(&FileBefore) -> u32| before.as_ref().map(|before| number(before).to_string());
            placements.push(Placement {
                path: path.clone(),
                owner: number(|before| before.owner),
                group: number(|before| before.group),
                mode: before.as_ref().map(|before| before.mode),
                content: before.as_ref().map(|before| before.content.clone()),
                origin: None,
            });
        }
    }
    for (path, sourced) in effective.files.iter().filter(|_| !are_frozen) {
        let before = ground.files.get(path).cloned().unwrap_or_else(|| found(path));
        files.insert(path.clone(), before);
        let wanted = &sourced.wanted;
        placements.push(Placement {
            path: path.clone(),
            owner: Some(wanted.owner.clone()),
            group: Some(wanted.group.clone()),
            mode: Some(wanted.mode),
            content: wanted.content.clone(),
            origin: Some(sourced.origin.section.clone()),
        });
    }
    let mut shared = |path: &str, kind: &Kind, lines: Option<Vec<String>>, origin: Option<SectionPath>| {
        let there = found(path);
        let text = there.as_ref().map(|there| String::from_utf8_lossy(&there.content).into_owned());
        let has_block = text.as_deref().is_some_and(|text| text.contains(BEGIN));
        if effective.is_frozen(kind) || (lines.is_none() && !has_block) {
            return;
        }
        let content = with_block(text.as_deref().unwrap_or(""), &lines.unwrap_or_default());
        let content = (there.is_some() || !content.is_empty()).then(|| content.into_bytes());
        let (owner, group, mode) = (None, None, None);
        placements.push(Placement { path: path.to_owned(), owner, group, mode, content, origin });
    };
    let keys = effective.keys.as_ref();
    let lines = keys.map(|keys| keys.iter().map(|key| key.wanted.line.clone()).collect());
    let origin = keys.and_then(|keys| Some(keys.last()?.origin.section.clone()));
    shared(KEYS, &Kind::Keys, lines, origin);
    let jobs = effective.cron.as_ref();
    let line = |job: &crate::document::CronJob| format!("{} {}", job.schedule, job.command);
    let lines = jobs.map(|jobs| jobs.iter().map(|job| line(&job.wanted)).collect());
    let origin = jobs.and_then(|jobs| Some(jobs.last()?.origin.section.clone()));
    shared(CRON, &Kind::Cron, lines, origin);
    if let (false, Some(last), Some(there)) =
        (effective.is_frozen(&Kind::Passwords), effective.passwords.values().last(), found(SHADOW))
    {
        let mut text = String::from_utf8_lossy(&there.content).into_owned();
        for sourced in effective.passwords.values() {
            text = with_hash(&text, &sourced.wanted.user, &sourced.wanted.hash);
        }
        placements.push(Placement {
            path: SHADOW.to_owned(),
            owner: None,
            group: None,
            mode: None,
            content: Some(text.into_bytes()),
            origin: Some(last.origin.section.clone()),
        });
    }
    (placements, files)
}

/// A text with these lines as the fleet's part of it; everybody else's lines stay.
fn with_block(text: &str, lines: &[String]) -> String {
    let mut out = String::new();
    let mut is_ours = false;
    for line in text.lines() {
        match line {
            BEGIN => is_ours = true,
            END => is_ours = false,
            line if !is_ours => {
                out.push_str(line);
                out.push('\n');
            }
            _ => {}
        }
    }
    if !lines.is_empty() {
        for line in [BEGIN].into_iter().chain(lines.iter().map(String::as_str)).chain([END]) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// `/etc/shadow` with another hash for a user that is in it.
fn with_hash(text: &str, user: &str, hash: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut fields: Vec<&str> = line.split(':').collect();
        if fields.len() > 1 && fields[0] == user {
            fields[1] = hash;
        }
        out.push_str(&fields.join(":"));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use uci::Config;

    use super::*;
    use crate::effective::Input;
    use crate::effective::tests::{member, placed};
    use crate::layer::Placed;
    use crate::sealed::NoSecrets;

    fn file(content: &str) -> FileBefore {
        FileBefore { owner: 0, group: 0, mode: 0o600, content: content.into() }
    }

    /// What files come to, from what they are.
    fn bring(sections: &[Placed], ground: &mut Ground, flash: &mut BTreeMap<String, FileBefore>) {
        let (member, current) = (member(), Config::new());
        let input = Input { member: &member, sections, unreadable: &[], current: &current, ground, opener: &NoSecrets };
        let effective = Effective::of(input);
        assert_eq!(effective.rejected, []);
        let (placements, files) = placements(&effective, ground, |path| flash.get(path).cloned());
        for placement in placements {
            match placement.content {
                Some(content) => flash.insert(placement.path, FileBefore { content, ..file("") }),
                None => flash.remove(&placement.path),
            };
        }
        ground.files = files;
    }

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBzhBzmCWzUOSPa0KNcRFnLNyBYPoJGmvQCBZHHAcE3D ana";

    #[test]
    fn only_the_fleets_lines_come_and_go() {
        let keys = placed("groups/all/keys", &format!("config key\n\toption key '{KEY}'\n"));
        let cron = placed("groups/ap/cron", "config job\n\toption schedule '0 4 * * *'\n\toption command 'reboot'\n");
        let hash = placed("groups/ap/passwords", "config password\n\toption hash '$6$salt$hash'\n");
        let files = placed(
            "groups/ap/files",
            "config file\n\toption path '/etc/made'\n\toption content 'x'\n\
             config file\n\toption path '/etc/banner'\n\toption content 'mine'\n\
             config file\n\toption path '/etc/gone'\n\toption delete '1'\n",
        );
        let begin = BTreeMap::from([
            (KEYS.to_owned(), file("ssh-rsa someone\n")),
            (SHADOW.to_owned(), file("root:old:1:0:99999:7:::\nftp:*:0:0:99999:7:::\n")),
            ("/etc/banner".to_owned(), file("theirs")),
            ("/etc/gone".to_owned(), file("was here")),
        ]);
        let (mut flash, mut ground) = (begin.clone(), Ground::default());
        bring(&[keys, cron, hash, files], &mut ground, &mut flash);
        let text = |path: &str| flash.get(path).map(|file| String::from_utf8_lossy(&file.content).into_owned());
        assert_eq!(text(KEYS).unwrap(), format!("ssh-rsa someone\n{BEGIN}\n{KEY}\n{END}\n"));
        assert!(text(CRON).unwrap().contains("\n0 4 * * * reboot\n"));
        assert_eq!(text(SHADOW).unwrap(), "root:$6$salt$hash:1:0:99999:7:::\nftp:*:0:0:99999:7:::\n");
        assert_eq!((text("/etc/banner").as_deref(), text("/etc/gone")), (Some("mine"), None));
        // A password stays when nobody speaks of it any more: which one it was before is for nobody to keep.
        bring(&[], &mut ground, &mut flash);
        flash.remove(CRON).unwrap();
        flash.insert(SHADOW.to_owned(), begin[SHADOW].clone());
        assert_eq!(flash, begin);
        assert_eq!(ground, Ground::default());
    }
}
