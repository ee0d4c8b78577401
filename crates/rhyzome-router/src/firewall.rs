//! fw4: the config `firewall` becomes one nftables table.

pub mod address;
pub mod policy;
pub mod render;

use crate::tool::{self, ToolError};

/// The table that holds all rules.
pub const TABLE: &str = "fw4";

/// Loads a ruleset as a whole: either all of it takes the place of what was there, or nothing changes.
///
/// # Errors
/// When nft refuses it.
pub fn load(ruleset: &str) -> Result<(), ToolError> {
    tool::run_with("nft", &["-f", "-"], ruleset).map(drop)
}
