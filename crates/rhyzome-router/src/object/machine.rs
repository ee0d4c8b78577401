//! The objects that tell about the machine beneath: `network`, `network.device`, `network.interface` and the
//! interfaces' own, `luci-rpc`, `luci.wireguard`, `rc`, `service` and `system`.

use crate::json::Json;
use crate::question::{Question, Target};
use crate::rpcd::{Call, Outcome, Rpcd};
use crate::signature::INTERFACE_PREFIX;
use crate::status::{Answer, DONE, Status, data};

/// How LuCI asks for the leases of one IP version.
const IPV4: i32 = 4;
const IPV6: i32 = 6;

pub(crate) fn call(rpcd: &mut Rpcd, object: &str, method: &str, call: &Call<'_>) -> Outcome {
    if let Some(interface) = object.strip_prefix(INTERFACE_PREFIX) {
        return interface_call(interface, method);
    }
    match (object, method) {
        ("network", _) => {
            rpcd.note_changed("network");
            Outcome::Answer(DONE)
        }
        ("network.device", "status") => Outcome::Ask(Question::Device(call.text("name").map(str::to_owned))),
        ("network.interface", "dump") => Outcome::Ask(Question::Interfaces),
        ("network.interface", _) => match call.text("interface") {
            Some(interface) => interface_call(interface, method),
            None => Outcome::Answer(Err(Status::InvalidArgument)),
        },
        ("luci-rpc", "getDHCPLeases") => {
            let family = call.number("family");
            Outcome::Ask(Question::Leases { ipv4: family != Some(IPV6), ipv6: family != Some(IPV4) })
        }
        ("luci.wireguard", "getWgInstances") => Outcome::Ask(Question::WireGuard),
        ("luci.wireguard", "generateKeyPair") => Outcome::Ask(Question::KeyPair),
        ("rc", "list") => Outcome::Answer(services()),
        ("rc", "init") => Outcome::Answer(init(rpcd, call)),
        ("service", "list") => Outcome::Ask(Question::Services(call.text("name").map(str::to_owned))),
        ("system", "board") => Outcome::Ask(Question::Board),
        ("system", "info") => Outcome::Ask(Question::Info),
        _ => Outcome::Answer(Err(Status::NotSupported)),
    }
}

fn interface_call(interface: &str, method: &str) -> Outcome {
    let interface = interface.to_owned();
    match method {
        "status" => Outcome::Ask(Question::Interface(interface)),
        "dump" => Outcome::Ask(Question::Interfaces),
        "up" => Outcome::Ask(Question::Switch { interface, to: Target::Up }),
        "down" => Outcome::Ask(Question::Switch { interface, to: Target::Down }),
        _ => Outcome::Answer(Err(Status::NotSupported)),
    }
}

/// The services that `rc` knows, and the config that each follows.
const SERVICES: [(&str, &str); 3] = [("dnsmasq", "dhcp"), ("firewall", "firewall"), ("network", "network")];

fn services() -> Answer {
    let running = |name: &str| {
        let state = vec![("enabled".to_owned(), true.into()), ("running".to_owned(), true.into())];
        (name.to_owned(), Json::Object(state))
    };
    Ok(Some(SERVICES.iter().map(|(name, _)| running(name)).collect()))
}

fn init(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let (Some(name), Some(action)) = (call.text("name"), call.text("action")) else {
        return Err(Status::InvalidArgument);
    };
    let (_, config) = SERVICES.iter().find(|(service, _)| *service == name).ok_or(Status::NotFound)?;
    match action {
        "reload" | "restart" => {
            rpcd.note_changed(config);
            DONE
        }
        "running" | "enabled" => data("result", true),
        _ => Err(Status::NotSupported),
    }
}
