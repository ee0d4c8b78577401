//! What an operator has to know at once.

use fleet::node::Alarm;

/// Tells it.
pub fn tell(alarm: &Alarm) {
    eprintln!("{alarm:?}");
}
