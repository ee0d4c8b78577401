//! Policy rules: which packets look for their way in which table (the `rule` sections of config `network`).

use ipnet::IpNet;

use crate::tree::Section;

/// Which packets, and where they look. Devices are named as the kernel names them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub struct PolicyRule {
    pub priority: u32,
    pub is_v4: bool,
    pub from: Option<IpNet>,
    pub to: Option<IpNet>,
    pub arrives_on: Option<String>,
    pub leaves_by: Option<String>,
    pub mark: Option<String>,
    /// A table's number or name.
    pub table: String,
}

/// The priority from which on netifd places the rules of its own.
pub const OWN_PRIORITY: u32 = 90_000;

impl PolicyRule {
    /// Reads a section, whose place among its kind decides its priority where it names none. `device` tells the device
    /// of an interface that is configured. Nothing if the section is not understood.
    #[must_use]
    pub fn of(section: &Section, place: u32, device: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let net = |option: &str| match section.text(option) {
            Some(text) => parse_net(text).map(Some),
            None => Some(None),
        };
        let named = |option: &str| match section.text(option) {
            Some(interface) => device(interface).map(Some),
            None => Some(None),
        };
        let priority = match section.text("priority") {
            Some(priority) => priority.parse().ok()?,
            None => place,
        };
        let mark = section.text("mark").map(str::to_owned);
        if mark.as_ref().is_some_and(|mark| !is_mark(mark)) {
            return None;
        }
        Some(PolicyRule {
            priority,
            is_v4: section.kind == "rule",
            from: net("src")?,
            to: net("dest")?,
            arrives_on: named("in")?,
            leaves_by: named("out")?,
            mark,
            table: section.text("lookup").filter(|table| is_table(table))?.to_owned(),
        })
    }

    /// What netifd does for an interface with a table of its own: the router's own packets look there, too.
    #[must_use]
    pub fn own_packets(table: &str) -> Self {
        PolicyRule {
            priority: OWN_PRIORITY,
            is_v4: true,
            from: None,
            to: None,
            arrives_on: Some("lo".to_owned()),
            leaves_by: None,
            mark: None,
            table: table.to_owned(),
        }
    }

    /// The rule as a line for `ip -batch`, with `verb` add or delete. The protocol marks it as ours.
    #[must_use]
    pub fn line(&self, verb: &str) -> String {
        let mut line = format!("rule {verb}");
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                line.push_str(&format!(" {name} {value}"));
            }
        };
        // A line of a batch tells its IP version by its addresses alone.
        let from_any = (!self.is_v4 && self.from.is_none() && self.to.is_none()).then(|| "::/0".to_owned());
        put("from", self.from.map(|net| net.to_string()).or(from_any));
        put("to", self.to.map(|net| net.to_string()));
        put("iif", self.arrives_on.clone());
        put("oif", self.leaves_by.clone());
        put("fwmark", self.mark.clone());
        put("lookup", Some(self.table.clone()));
        put("priority", Some(self.priority.to_string()));
        put("protocol", Some("static".to_owned()));
        line
    }
}

/// Whether this can name a routing table.
#[must_use]
pub fn is_table(table: &str) -> bool {
    matches!(table, "main" | "local" | "default") || table.parse::<u32>().is_ok()
}

fn is_mark(mark: &str) -> bool {
    let is_number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).is_ok(),
        None => text.parse::<u32>().is_ok(),
    };
    mark.split('/').count() <= 2 && mark.split('/').all(is_number)
}

fn parse_net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}
