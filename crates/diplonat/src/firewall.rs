//! The host's firewall: the ports that are open for what is published, and no others of ours.

pub mod actor;
pub mod nft;
pub mod rules;

mod conntrack;
mod tool;

pub use actor::FirewallReport;
pub use tool::ToolError;
