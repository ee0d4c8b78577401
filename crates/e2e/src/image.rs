//! The tiny guest, built once and kept with the build.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::installation::programs_dir;

/// The image's file. Building it needs the package archive, so this comes before the test's own machine.
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
