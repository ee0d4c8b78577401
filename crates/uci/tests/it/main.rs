//! What the crate promises, over its public face.

#![allow(clippy::unwrap_used, missing_docs)]

mod changes;
mod edits;
mod hostile;
mod language;
mod properties;

use uci::{Package, PackageName};

fn read(text: &str) -> Package {
    Package::parse(PackageName::new("toys").unwrap(), text).unwrap()
}

const TOYS: &str = "
config toy 'first'
	option color 'red'
	option size '1'
	list tag 'a'
	list tag 'b'

config toy
	option color 'blue'
	option size '2'

config toy
	option color 'red'
	option size '3'

config box 'empty'

config box 'big'
	option label 'Big box'
	option color 'red'

";
