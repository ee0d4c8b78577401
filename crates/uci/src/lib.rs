//! The UCI language: OpenWrt's configuration files, read, edited in place, printed and compared.
//!
//! A [`Package`] is one file of `/etc/config`; a [`Config`] is several of them. What was parsed prints back byte for
//! byte; what was edited prints as libuci would write it, and comments stay where they stood. [`diff`] turns two
//! packages into the calls of rpcd's `uci` object that lead from one to the other; [`apply`] does to a package what rpcd
//! does with those calls. The crate does no input or output.
//!
//! ```
//! use uci::{Package, PackageName};
//!
//! let text = "config interface 'lan' # the house\n\toption proto 'static'\n";
//! let mut network = Package::parse(PackageName::new("network")?, text)?;
//! let lan = network.section_mut("lan").expect("it was just parsed");
//! lan.set("proto", "dhcp")?;
//! assert_eq!(network.to_string(), "config interface 'lan' # the house\n\toption proto 'dhcp'\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod apply;
mod change;
mod config;
mod diff;
mod lines;
mod name;
mod package;
mod parse;
mod print;
mod scan;
mod section;
mod value;

pub use apply::{ApplyError, Record, apply};
pub use change::{Change, Edit, Values};
pub use config::Config;
pub use diff::{DiffError, diff, diff_owned};
pub use lines::Lines;
pub use name::{NameError, NameKind, OptionName, PackageName, SectionName, SectionType};
pub use package::{EditError, Package};
pub use parse::{ParseError, ParseErrorKind};
pub use section::{Identity, Section};
pub use value::{Value, ValueError};
