//! What an operator has to know at once.

use fleet::node::Alarm;

/// Tells it.
pub fn tell(alarm: &Alarm) {
    let text = match alarm {
        Alarm::Clone(key) => format!("two devices have the key {key}"),
        Alarm::Fork => {
            "two majorities disagree about the history: nothing is applied until an admin chooses".to_owned()
        }
        Alarm::Behind(index) => {
            format!("a device knows of record {index}, which is not here: was this master restored from an old backup?")
        }
        Alarm::Refused(reason) => format!("what this node reported was refused: {reason}"),
        Alarm::Hostile(key, reason) => format!("{key} says what it must not: {reason}"),
    };
    eprintln!("{text}");
}
