//! Images for guests, built on this machine out of Debian's packages: [`tiny`], which boots in seconds, and [`debian`], a
//! whole system with cloud-init.
//!
//! It knows no server: what it makes are files.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod debian;
pub mod tiny;

mod program;
mod work_dir;
