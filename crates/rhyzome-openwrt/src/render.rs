//! From a network to UCI: sections of the packages `network`, `dhcp` and `firewall`, in the shapes of OpenWrt 24.10.
//!
//! No input, no output, no clock: the same network gives the same sections.

mod dhcp;
mod firewall;
mod network;

use types::Version;
use uci::{Config, Package, PackageName, Value};

use crate::admission::Admitted;
use crate::mark;
use crate::names::Names;
use crate::segment::Segments;
use crate::zone::ZoneName;

/// The packages that networks have sections in.
pub const PACKAGES: [&str; 3] = ["network", "dhcp", "firewall"];

/// The port that the networks' own name servers listen on, each on its router address. Port 53 of every address is
/// taken by the router's own dnsmasq, which binds whatever address appears and is the operator's to configure; the
/// firewall brings the networks' questions from port 53 here.
pub const DNS_PORT: u16 = 5399;

/// What a rendering depends on beside the network.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How segments reach the router.
    pub segments: Segments,
    /// The firewall zone of the way out.
    pub wan_zone: ZoneName,
}

/// The sections of a network at `version`, its mark included.
pub fn render(admitted: &Admitted, version: Version, settings: &Settings) -> Config {
    let names = Names::of(admitted.network.slot);
    let mut config = nothing();
    let mut fill = |package: &str, content: &dyn Fn(&mut Package)| {
        content(config.get_mut(package).expect("invariant: it holds all of our packages"));
    };
    fill("network", &|package| network::fill(package, names, admitted, settings));
    fill("dhcp", &|package| dhcp::fill(package, names, admitted));
    fill("firewall", &|package| firewall::fill(package, names, &admitted.network, settings));

    let mark = [
        (mark::ID, text(admitted.network.id)),
        (mark::VERSION, text(version)),
        (mark::DIGEST, text(mark::digest(&config, names.slot()))),
    ];
    let network = config.get_mut("network").expect("invariant: it holds all of our packages");
    add(network, mark::TYPE, names.section(mark::PART), mark);
    config
}

/// A router's configuration without any section of ours in those packages.
pub fn nothing() -> Config {
    PACKAGES.into_iter().map(|name| Package::new(package_name(name))).collect()
}

/// The name of one of [`PACKAGES`].
pub fn package_name(name: &str) -> PackageName {
    PackageName::new(name).expect("invariant: the names of our packages are names")
}

/// Adds a section. What comes here was parsed into types that hold no character that UCI cannot.
fn add<'a>(package: &mut Package, kind: &str, name: String, options: impl IntoIterator<Item = (&'a str, Value)>) {
    let section = package.add(kind, name).expect("invariant: names derive from slots and ids, each used once");
    for (option, value) in options {
        section.set(option, value).expect("invariant: values come from checked types");
    }
}

/// A list with one item.
fn one(item: impl ToString) -> Value {
    Value::List(vec![item.to_string()])
}

/// The text of `value`.
fn text(value: impl ToString) -> Value {
    Value::Scalar(value.to_string())
}
