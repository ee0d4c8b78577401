//! Programs of the building machine: run to their end, killed with us, named with their package where they are missing.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The Debian packages of the programs that builds run.
const PACKAGES: [(&str, &str); 16] = [
    ("apt-cache", "apt"),
    ("apt-config", "apt"),
    ("apt-get", "apt"),
    ("cpio", "cpio"),
    ("dpkg", "dpkg"),
    ("dpkg-deb", "dpkg"),
    ("fakeroot", "fakeroot"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mmdebstrap", "mmdebstrap"),
    ("newuidmap", "uidmap"),
    ("qemu-img", "qemu-utils"),
    ("setpriv", "util-linux"),
    ("sfdisk", "fdisk"),
    ("sh", "dash"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
];
/// Lines of a failed program that are shown.
const SHOWN: usize = 20;

/// Runs a program to its end and answers what it printed; its messages are part of the error.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = name(command);
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_run(error, &name))?;
    if !output.status.success() {
        bail!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed what is no text"))
}

/// Runs a program to its end and gives every line of its messages to `heard`; the last ones are part of the error.
pub fn run_heard(command: &mut Command, heard: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    let name = name(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| not_run(error, &name))?;
    let mut last = Vec::new();
    for line in child.stderr.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let Ok(line) = line else { continue };
        heard(&line);
        last.push(line);
        if last.len() > SHOWN {
            last.remove(0);
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status}):\n{}", last.join("\n"));
    }
    Ok(())
}

/// Fails for the first of these programs that is not installed, with the package that has it.
pub fn require(programs: &[&str]) -> anyhow::Result<()> {
    match programs.iter().find(|program| !is_installed(program)) {
        Some(missing) => bail!("{}", missing_line(missing)),
        None => Ok(()),
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where users' paths leave the folders of administrators out, what lies there can be run all the same.
    let folders = std::env::split_paths(&path).chain(SYSTEM.map(|folder| Path::new(folder).to_owned()));
    folders.into_iter().any(|folder| folder.join(program).is_file())
}

/// Where administrators' programs lie.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The search path of users, with the folders of administrators at its end.
pub fn whole_path() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    for folder in SYSTEM {
        path.push(":");
        path.push(folder);
    }
    path
}

fn name(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn not_run(error: io::Error, name: &str) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => anyhow::anyhow!("{}", missing_line(name)),
        _ => anyhow::Error::new(error).context(format!("cannot run {name}")),
    }
}

fn missing_line(program: &str) -> String {
    match PACKAGES.iter().find(|(known, _)| *known == program) {
        Some((_, package)) => format!("{program} is not installed: apt-get install {package}"),
        None => format!("{program} is not installed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        assert_eq!(missing_line("sfdisk"), "sfdisk is not installed: apt-get install fdisk");
        let error = run(&mut Command::new("no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "no-such-program is not installed");
        assert_eq!(require(&["sh", "no-such-program"]).unwrap_err().to_string(), error.to_string());
    }

    #[test]
    fn a_failed_program_says_its_last_words() {
        let script = "for n in $(seq 30); do echo line $n >&2; done; exit 3";
        let mut lines = 0;
        let error = run_heard(Command::new("sh").args(["-c", script]), &mut |_| lines += 1).unwrap_err().to_string();
        assert_eq!(lines, 30);
        assert!(error.starts_with("sh failed (exit status: 3):\nline 11\n") && error.ends_with("line 30"), "{error}");
    }
}
