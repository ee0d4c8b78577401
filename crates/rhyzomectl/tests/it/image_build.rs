//! Building Debian images where something goes wrong; `mmdebstrap` is a script of the test's own.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

use crate::run::User;

const PATIENCE: Duration = Duration::from_secs(60);
const BUILD: [&str; 5] = ["image", "build", "debian-12", "--mirror", "http://127.0.0.1:9/debian"];

/// A user who finds that script before the real program.
fn user_with(mmdebstrap: &str) -> (User, String) {
    let user = User::new();
    let bin = user.path("bin");
    fs::create_dir_all(&bin).unwrap();
    script(&user, mmdebstrap);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    (user, path)
}

fn script(user: &User, text: &str) {
    let file = user.path("bin/mmdebstrap");
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
}

/// The folders that builds work in.
fn work_dirs(user: &User) -> Vec<PathBuf> {
    let entries = fs::read_dir(user.path(".cache/rhyzome")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

#[tokio::test]
async fn a_missing_program_is_named_with_its_package() {
    let user = User::new();
    let done = user.command(&BUILD).env("PATH", user.path("nothing")).output().await.unwrap();
    assert_eq!(done.status.code(), Some(1));
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(told.contains("mmdebstrap is not installed: apt-get install mmdebstrap"), "{told}");
    assert!(work_dirs(&user).is_empty());
}

#[tokio::test]
async fn a_killed_build_ends_at_once_and_the_next_one_tidies_up() {
    assert!(Uid::effective().is_root(), "this needs root: builds have a mount namespace of their own");
    let (user, path) = user_with("mkdir \"$TMPDIR/tree\"; exec 9>\"$SIGN\"; echo begun >&9; exec sleep 1000");
    let sign = user.path("sign");
    mkfifo(&sign, Mode::S_IRWXU).unwrap();
    let mut build = user.command(&BUILD).env("PATH", &path).env("SIGN", &sign).spawn().unwrap();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    // The end of the file is the end of all who could write to it.
    let ended = tokio::task::spawn_blocking(move || {
        let mut reader = BufReader::new(File::open(sign).unwrap());
        reader.read_line(&mut String::new()).unwrap();
        begun.send(()).unwrap();
        reader.read_to_end(&mut Vec::new()).unwrap();
    });
    tokio::time::timeout(PATIENCE, has_begun).await.expect("the build begins").unwrap();
    build.kill().await.unwrap();
    tokio::time::timeout(PATIENCE, ended).await.expect("what the build started ends with it").unwrap();
    assert_eq!(work_dirs(&user).len(), 1, "the kill leaves something, or this test is worth nothing");

    script(&user, "echo 'E: the archive does not answer' >&2; exit 1");
    let done = user.command(&BUILD).env("PATH", &path).output().await.unwrap();
    assert_eq!(done.status.code(), Some(1));
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(told.contains("E: the archive does not answer"), "{told}");
    assert_eq!(work_dirs(&user), Vec::<PathBuf>::new());
}
