//! Text that no OpenWrt wrote.

use std::path::Path;

use fuzz::Corpus;
use uci::{Package, PackageName, apply, diff};

#[test]
fn any_bytes_are_read_or_refused_and_what_is_read_prints_back() {
    let corpus = Corpus::of_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"));
    let name = || PackageName::new("toys").unwrap();
    let empty = Package::new(name());
    corpus.run(|bytes| {
        let Ok(package) = Package::parse(name(), &String::from_utf8_lossy(bytes)) else { return };
        let back = Package::parse(name(), &package.print()).unwrap();
        assert_eq!(back.canonical(), package.canonical());
        let Ok(changes) = diff(&empty, &package) else { return };
        let _ = apply(&mut empty.clone(), &changes);
    });
}
