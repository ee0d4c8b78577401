//! Headers that qemu-img made, and what chance makes of them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use fuzz::Corpus;
use qcow2::{HEADER_BYTES, Header};

#[test]
fn any_header_is_judged() {
    let corpus = Corpus::of_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"));
    corpus.run(|bytes| {
        let start = &bytes[..bytes.len().min(HEADER_BYTES)];
        if let Ok(header) = Header::read(start) {
            assert!(header.virtual_size > 0);
        }
    });
}

#[test]
fn what_qemu_img_made_is_judged_by_its_kind() {
    let read = |name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        Header::read(&std::fs::read(file).unwrap())
    };
    assert_eq!(read("plain").unwrap().virtual_size, 64 << 20);
    assert_eq!(read("version-2").unwrap().virtual_size, 64 << 20);
    for name in ["backed", "data-file", "encrypted"] {
        assert!(read(name).is_err(), "{name}");
    }
}
