//! Hardware in values: `@radio[band=2g]` stands for the section of a radio, `@port[role=lan]` for devices of ports.

use uci::Value;

use super::Input;
use crate::facts::Band;

/// A value with the device's hardware put in; the inner error says what this device does not have.
///
/// # Errors
/// Says what is no hardware that can be asked for.
pub(super) fn put_in(value: Value, input: Input<'_>) -> Result<Result<Value, String>, String> {
    if !value.items().iter().any(|item| is_reference(item)) {
        return Ok(Ok(value));
    }
    let mut put = Vec::new();
    for item in value.items() {
        if !is_reference(item) {
            put.push(item.clone());
            continue;
        }
        let found = look_up(item, input)?;
        if found.is_empty() {
            return Ok(Err(format!("this device has no {item}")));
        }
        put.extend(found);
    }
    Ok(Ok(match value {
        // Of several radios of a band, the first is the one that is meant.
        Value::Scalar(_) => Value::Scalar(put.swap_remove(0)),
        Value::List(_) => Value::List(put),
    }))
}

fn is_reference(item: &str) -> bool {
    (item.starts_with("@radio[") || item.starts_with("@port[")) && item.ends_with(']')
}

fn look_up(item: &str, input: Input<'_>) -> Result<Vec<String>, String> {
    let expected = || format!("{item:?} is no hardware: expected @radio[band=2g] or @port[role=lan]");
    let (what, inside) = item.trim_end_matches(']').split_once('[').ok_or_else(expected)?;
    let (mut which, mut index) = (None, None);
    for part in inside.split(',') {
        match part.split_once('=') {
            Some(("index", number)) => index = Some(number.parse::<usize>().map_err(|_| expected())?),
            Some(("band", band)) if what == "@radio" => which = Some(band),
            Some(("role", role)) if what == "@port" => which = Some(role),
            _ => return Err(expected()),
        }
    }
    let which = which.ok_or_else(expected)?;
    let facts = &input.member.facts;
    let found: Vec<String> = match what {
        "@radio" => {
            let band: Band = which.parse().map_err(|error| format!("{error}"))?;
            let radios = facts.radios(input.current).into_iter().filter(|radio| radio.band == band);
            radios.map(|radio| radio.section.to_string()).collect()
        }
        _ => facts.ports.get(which).cloned().unwrap_or_default(),
    };
    Ok(match index {
        Some(index) => found.into_iter().nth(index).into_iter().collect(),
        None => found,
    })
}
