//! The ubus objects, their methods and the arguments that `list` tells of them.

use crate::json::{Json, Members};

type Arguments = &'static [(&'static str, &'static str)];
type Methods = &'static [(&'static str, Arguments)];

const SID: (&str, &str) = ("ubus_rpc_session", "string");
const CONFIG: (&str, &str) = ("config", "string");
const SECTION: (&str, &str) = ("section", "string");
const OPTION: (&str, &str) = ("option", "string");
const TYPE: (&str, &str) = ("type", "string");
const MATCH: (&str, &str) = ("match", "object");
const VALUES: (&str, &str) = ("values", "object");
const NAME: (&str, &str) = ("name", "string");
const PATH: (&str, &str) = ("path", "string");
const GRANT: Arguments = &[SID, ("scope", "string"), ("objects", "array")];
const LOOK: Arguments = &[CONFIG, SECTION, OPTION, TYPE, MATCH, SID];
const DEVICE: Arguments = &[NAME, ("link-ext", "boolean"), ("vlan", "array")];

const FILE: Methods = &[
    ("read", &[PATH, ("base64", "boolean"), SID]),
    ("write", &[PATH, ("data", "string"), ("append", "boolean"), ("mode", "number"), ("base64", "boolean"), SID]),
    ("list", &[PATH, SID]),
    ("stat", &[PATH, SID]),
    ("md5", &[PATH, SID]),
    ("remove", &[PATH, SID]),
    ("exec", &[("command", "string"), ("params", "array"), ("env", "object"), SID]),
];

const LUCI_RPC: Methods = &[
    ("getNetworkDevices", &[]),
    ("getWirelessDevices", &[]),
    ("getHostHints", &[]),
    ("getDUIDHints", &[]),
    ("getBoardJSON", &[]),
    ("getDHCPLeases", &[("family", "number")]),
];

const WIREGUARD: Methods = &[
    ("generateKeyPair", &[]),
    ("generatePsk", &[]),
    ("getPublicAndPrivateKeyFromPrivate", &[("privkey", "string")]),
    ("getWgInstances", &[]),
];

const NETWORK: Methods = &[("restart", &[]), ("reload", &[])];

const NETWORK_DEVICE: Methods = &[("status", &[NAME])];

const INTERFACE: Methods = &[
    ("up", &[]),
    ("down", &[]),
    ("renew", &[]),
    ("status", &[]),
    ("prepare", &[]),
    ("dump", &[]),
    ("add_device", DEVICE),
    ("remove_device", DEVICE),
    ("notify_proto", &[]),
    ("remove", &[]),
    ("set_data", &[]),
];

const RC: Methods = &[("list", &[NAME, ("skip_running_check", "boolean")]), ("init", &[NAME, ("action", "string")])];

const SERVICE: Methods = &[("list", &[NAME, ("verbose", "boolean")])];

const SESSION: Methods = &[
    ("create", &[("timeout", "number")]),
    ("list", &[SID]),
    ("grant", GRANT),
    ("revoke", GRANT),
    ("access", &[SID, ("scope", "string"), ("object", "string"), ("function", "string")]),
    ("set", &[SID, VALUES]),
    ("get", &[SID, ("keys", "array")]),
    ("unset", &[SID, ("keys", "array")]),
    ("destroy", &[SID]),
    ("login", &[("username", "string"), ("password", "string"), ("timeout", "number")]),
];

const SYSTEM: Methods = &[
    ("board", &[]),
    ("info", &[]),
    ("reboot", &[]),
    ("watchdog", &[("frequency", "number"), ("timeout", "number"), ("magicclose", "boolean"), ("stop", "boolean")]),
    ("signal", &[("pid", "number"), ("signum", "number")]),
    ("validate_firmware_image", &[PATH]),
    (
        "sysupgrade",
        &[
            PATH,
            ("force", "boolean"),
            ("backup", "string"),
            ("prefix", "string"),
            ("command", "string"),
            ("options", "object"),
        ],
    ),
];

const UCI: Methods = &[
    ("configs", &[]),
    ("get", LOOK),
    ("state", LOOK),
    ("add", &[CONFIG, TYPE, NAME, VALUES, SID]),
    ("set", &[CONFIG, SECTION, TYPE, MATCH, VALUES, SID]),
    ("delete", &[CONFIG, SECTION, TYPE, MATCH, OPTION, ("options", "array"), SID]),
    ("rename", &[CONFIG, SECTION, OPTION, NAME, SID]),
    ("order", &[CONFIG, ("sections", "array"), SID]),
    ("changes", &[CONFIG, SID]),
    ("revert", &[CONFIG, SID]),
    ("commit", &[CONFIG, SID]),
    ("apply", &[("rollback", "boolean"), ("timeout", "number"), SID]),
    ("confirm", &[SID]),
    ("rollback", &[SID]),
    ("reload_config", &[]),
];

/// The objects that are always there; `network.interface.NAME` comes and goes with the interfaces.
const OBJECTS: &[(&str, Methods)] = &[
    ("file", FILE),
    ("luci-rpc", LUCI_RPC),
    ("luci.wireguard", WIREGUARD),
    ("network", NETWORK),
    ("network.device", NETWORK_DEVICE),
    ("network.interface", INTERFACE),
    ("rc", RC),
    ("service", SERVICE),
    ("session", SESSION),
    ("system", SYSTEM),
    ("uci", UCI),
];

/// What stands before the name of an interface in the name of its object.
pub const INTERFACE_PREFIX: &str = "network.interface.";

/// The names of all objects, sorted, where these interfaces are there.
#[must_use]
pub fn names(interfaces: &[String]) -> Vec<String> {
    let mut names: Vec<String> = OBJECTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.extend(interfaces.iter().map(|interface| format!("{INTERFACE_PREFIX}{interface}")));
    names.sort();
    names
}

/// The methods of an object and their arguments, as `list` shows them.
#[must_use]
pub fn describe(object: &str) -> Json {
    let methods = methods(object).iter().map(|(method, arguments)| {
        let arguments: Members = arguments.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).into())).collect();
        ((*method).to_owned(), Json::Object(arguments))
    });
    Json::Object(methods.collect())
}

/// Whether one of the objects that are always there has this name.
#[must_use]
pub fn has_object(object: &str) -> bool {
    OBJECTS.iter().any(|(name, _)| *name == object)
}

/// Whether an object that is there has this method.
#[must_use]
pub fn has_method(object: &str, method: &str) -> bool {
    methods(object).iter().any(|(name, _)| *name == method)
}

fn methods(object: &str) -> Methods {
    if object.starts_with(INTERFACE_PREFIX) {
        return INTERFACE;
    }
    OBJECTS.iter().find(|(name, _)| *name == object).map_or(&[], |(_, methods)| methods)
}
