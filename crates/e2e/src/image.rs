//! The guests' images, built once and kept with the build.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::installation::programs_dir;

/// The tiny image's file. Building it needs the package archive, so this comes before the test's own machine.
pub fn tiny() -> PathBuf {
    let program = programs_dir().join("rhyzomectl");
    let file = programs_dir().with_file_name("tmp").join("tiny.qcow2");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    if modified(&file) < modified(&program) {
        let built = Command::new(&program)
            .args(["image", "build", "tiny", "--output"])
            .arg(&file)
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(built.success(), "rhyzomectl image build tiny: {built}");
    }
    file
}

/// The Debian 12 image's file; the same goes for it. It is named by its recipe, and built again only for another one.
pub fn debian() -> PathBuf {
    let built = Command::new(programs_dir().join("rhyzomectl"))
        .args(["image", "build", "debian-12"])
        .env("XDG_CACHE_HOME", programs_dir().with_file_name("images"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "rhyzomectl image build debian-12: {}", built.status);
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
}
