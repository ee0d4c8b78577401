//! The ubus objects.

pub mod apply;
pub mod file;
pub mod machine;
pub mod session;
pub mod shell;
pub mod stage;
pub mod uci;
