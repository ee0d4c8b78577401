//! The guest's system: packages installed by mmdebstrap, as an archive of files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use nix::unistd::Uid;

use super::recipe::{FINISH, GUEST_FILES, PACKAGES, Recipe};
use crate::program::{self, run, run_heard, whole_path};

/// What has to be installed.
pub const PROGRAMS: &[&str] = &["mmdebstrap", "apt-config", "setpriv", "unshare", "sh", "tar"];
/// Every file of the image is at most this old: 2026-01-01.
pub const EPOCH: &str = "1767225600";

/// Installs the system and answers where the archive with its files lies.
pub fn install(recipe: &Recipe, work_dir: &Path, progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    progress(&format!("installing the packages of {} from {}", recipe.release().name(), recipe.archive().main.url()));
    let tar = work_dir.join("system.tar");
    let guest = work_dir.join("guest");
    let mut mmdebstrap = base_command(work_dir)?;
    mmdebstrap.args(["--variant=minbase", "--format=tar"]).arg(format!("--include={}", PACKAGES.join(",")));
    for hook in lay_out(recipe, &guest)? {
        mmdebstrap.arg(format!("--essential-hook={hook}"));
    }
    mmdebstrap.arg(format!("--customize-hook={FINISH}"));
    mmdebstrap.arg(recipe.release().suite()).arg(&tar).args(recipe.sources());
    run_heard(&mut mmdebstrap, &mut |line| {
        if let Some(step) = line.strip_prefix("I: ").and_then(stage) {
            progress(step);
        }
    })?;
    Ok(tar)
}

/// mmdebstrap, ended by the kernel when this process ends, with all that it started and mounted.
fn base_command(work_dir: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new("setpriv");
    match Uid::effective().is_root() {
        true => {
            command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
            command.args(["--mount-proc", "--propagation", "private", "mmdebstrap", "--mode=root"]);
            command.env("TMPDIR", work_dir);
        }
        false => {
            require_user_namespaces()?;
            // Its folder is of other user ids, who cannot enter the caller's own; it removes it itself when it is ended.
            command.args(["--pdeathsig", "TERM", "mmdebstrap", "--mode=unshare"]);
        }
    }
    command.env("SOURCE_DATE_EPOCH", EPOCH).env("PATH", whole_path()).env("LC_ALL", "C.UTF-8").env_remove("LANGUAGE");
    for (variable, option) in [("http_proxy", "Acquire::http::Proxy"), ("https_proxy", "Acquire::https::Proxy")] {
        let proxy = run(Command::new("apt-config").args(["shell", "PROXY", option]))?;
        let proxy = proxy.trim().strip_prefix("PROXY='").and_then(|rest| rest.strip_suffix('\''));
        if let Some(proxy) = proxy.filter(|proxy| !matches!(*proxy, "" | "DIRECT")) {
            command.env(variable, proxy);
        }
    }
    Ok(command)
}

/// Without root mmdebstrap takes the user ids that the machine gave the user for such things.
fn require_user_namespaces() -> anyhow::Result<()> {
    program::require(&["newuidmap", "fakeroot"]).context("building without root takes more programs")?;
    let user = nix::unistd::User::from_uid(Uid::effective()).ok().flatten().map(|user| user.name);
    let user = user.context("your user id has no name in /etc/passwd")?;
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        if !text.lines().any(|line| line.split(':').next() == Some(&user)) {
            bail!(
                "{file} gives {user} no ids: build as root, or run `usermod --add-subuids 100000-165535 \
                --add-subgids 100000-165535 {user}` as root"
            );
        }
    }
    Ok(())
}

/// Writes the guest files below `guest` and answers the hooks that put them into the system.
fn lay_out(recipe: &Recipe, guest: &Path) -> anyhow::Result<Vec<String>> {
    fs::create_dir(guest).with_context(|| format!("cannot make {}", guest.display()))?;
    let mut folders: Vec<&str> =
        GUEST_FILES.iter().filter_map(|file| Path::new(file.path).parent()?.to_str()).collect();
    folders.dedup();
    let made = folders.iter().map(|folder| format!(" \"$1{folder}\"")).collect::<String>();
    let mut hooks = vec![format!("mkdir -p{made}")];
    for (number, file) in GUEST_FILES.iter().enumerate() {
        let source = guest.join(number.to_string());
        fs::write(&source, recipe.filled_in(file.content))
            .with_context(|| format!("cannot write {}", source.display()))?;
        let source = source.to_str().filter(|path| !path.contains(['\'', '\\', '\n']));
        let source = source.context("the path of the cache must be plain text without quotes")?;
        hooks.push(format!("upload '{source}' {}", file.path));
    }
    Ok(hooks)
}

/// What a message of mmdebstrap means to whoever waits.
fn stage(message: &str) -> Option<&'static str> {
    let stages = [
        ("running apt-get update", "fetching the lists of packages"),
        ("downloading packages", "downloading the essential packages"),
        ("installing essential packages", "installing the essential packages"),
        ("installing remaining packages", "downloading and installing the other packages"),
        ("running --customize-hook", "making the boot loader"),
        ("creating tarball", "collecting the files"),
    ];
    stages.iter().find(|(begin, _)| message.starts_with(begin)).map(|(_, stage)| *stage)
}
