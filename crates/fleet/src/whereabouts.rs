//! Where the voters are, for whoever has to find them: the section `policies/voters/addresses`, in UCI's syntax.
//!
//! It is a hint. Whoever answers there has to show the key of the voter that is looked for.

use std::collections::BTreeMap;

use uci::{OptionName, Package, PackageName};

use crate::DeviceId;

/// Where it stands.
pub const PATH: &str = "policies/voters/addresses";

/// Hosts and ports of devices.
pub type Whereabouts = BTreeMap<DeviceId, Vec<String>>;

/// Reads the section: `config voter`, with `device` and a list `address` of HOST:PORT.
///
/// # Errors
/// Names the line, or what is missing.
pub fn parse(content: &[u8]) -> Result<Whereabouts, String> {
    let text = str::from_utf8(content).map_err(|_| "expected UTF-8 text".to_owned())?;
    let package = PackageName::new("addresses").map_err(|error| error.to_string())?;
    let package = Package::parse(package, text).map_err(|error| error.to_string())?;
    let option = |name| OptionName::new(name).expect("invariant: a plain word names an option");
    let (device, address) = (option("device"), option("address"));
    let mut whereabouts = Whereabouts::new();
    for section in package.sections().filter(|section| section.kind().as_str() == "voter") {
        let id = section.get(device.as_str()).and_then(|value| value.items().first());
        let id = id.ok_or("a voter without the option device")?;
        let id: DeviceId = id.parse().map_err(|error: crate::ParseError| error.to_string())?;
        let addresses = section.get(address.as_str()).map(|value| value.items().to_vec()).unwrap_or_default();
        whereabouts.entry(id).or_default().extend(addresses);
    }
    Ok(whereabouts)
}

/// Writes the section.
#[must_use]
pub fn print(whereabouts: &Whereabouts) -> String {
    let mut out = String::new();
    for (device, addresses) in whereabouts {
        out.push_str(&format!("config voter\n\toption device '{device}'\n"));
        addresses.iter().for_each(|address| out.push_str(&format!("\tlist address '{address}'\n")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let one = "00112233445566778899".parse().unwrap();
        let other = "ff112233445566778899".parse().unwrap();
        let addresses = vec!["192.0.2.1:4747".to_owned(), "home.example.org:4747".to_owned()];
        let whereabouts = Whereabouts::from([(one, addresses), (other, Vec::new())]);
        assert_eq!(parse(print(&whereabouts).as_bytes()), Ok(whereabouts));
        assert!(parse(b"config voter\n").unwrap_err().contains("device"));
        assert!(parse(b"\xff").is_err());
    }
}
