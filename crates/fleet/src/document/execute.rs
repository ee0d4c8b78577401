//! What in a content runs code on a device, and so needs the right `execute`.

use uci::{OptionName, PackageName, SectionType};

use super::{ConfigDocument, Deed, Document, Place, ProbeKind, Variable};

/// Something that runs code, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunsCode {
    /// Where it stands, as far as that is known.
    pub place: Place,
    /// What runs code.
    pub what: String,
}

/// Packages whose whole purpose is to run things, or to let people in who may.
const PACKAGES: &[&str] = &["uhttpd", "rpcd", "ucitrack", "luci", "openvpn", "dusk", "acme", "watchcat", "autossh"];

/// Options that name programs or files of code, by package, type and option; `*` is any.
const OPTIONS: &[(&str, &str, &str)] = &[
    ("dhcp", "dnsmasq", "dhcpscript"),
    ("dhcp", "dnsmasq", "confdir"),
    ("dhcp", "dnsmasq", "serversfile"),
    ("dhcp", "*", "leasetrigger"),
    ("dhcp", "dnsmasq", "addnhosts"),
    ("dhcp", "dnsmasq", "extraconftext"),
    ("firewall", "include", "*"),
    ("system", "*", "conloglevel_command"),
    ("system", "led", "script"),
    ("network", "*", "hook"),
    ("network", "*", "up_script"),
    ("network", "*", "down_script"),
    ("network", "interface", "pppd_options"),
    ("network", "interface", "connect"),
    ("network", "interface", "disconnect"),
    ("ddns", "*", "update_script"),
    ("ddns", "*", "ip_script"),
    ("*", "*", "command"),
    ("*", "*", "exec"),
    ("*", "*", "script"),
];

/// Folders whose files no program on a device runs or takes orders from.
const HARMLESS: &[&str] = &["/etc/ssl/", "/etc/banner", "/etc/hosts", "/etc/ethers", "/srv/"];

impl Document {
    /// What in it runs code: its author needs the right `execute` for each.
    #[must_use]
    pub fn runs_code(&self) -> Vec<RunsCode> {
        let whole = |what: String| RunsCode { place: Place::default(), what };
        match self {
            Self::Config(config) | Self::Template(config) => in_config(config),
            Self::Files(files) => {
                let is_harmless =
                    |path: &str, mode: u32| mode & 0o111 == 0 && HARMLESS.iter().any(|prefix| path.starts_with(prefix));
                let others = files.iter().filter(|file| !is_harmless(&file.path, file.mode));
                others.map(|file| whole(format!("the file {}", file.path))).collect()
            }
            Self::Cron(jobs) => jobs.iter().map(|job| whole(format!("the job {:?}", job.command))).collect(),
            Self::Action(action) => match &action.deed {
                Deed::Command { command } => vec![whole(format!("the command {command:?}"))],
                Deed::Reboot | Deed::Log { .. } => Vec::new(),
            },
            Self::Policy(policy) => {
                let hooks = policy.hooks.iter().map(|hook| whole(format!("the hook {:?}", hook.command)));
                let probes = policy.probes.iter().filter_map(|probe| match &probe.kind {
                    ProbeKind::Command(command) => Some(whole(format!("the probe {command:?}"))),
                    _ => None,
                });
                hooks.chain(probes).collect()
            }
            // Who may log in may run everything.
            Self::Keys(keys) => keys.iter().map(|_| whole("a key that may log in".to_owned())).collect(),
            Self::Passwords(hashes) => {
                hashes.iter().map(|hash| whole(format!("the password of {}", hash.user))).collect()
            }
            Self::Variables(_) | Self::Packages(_) => Vec::new(),
        }
    }
}

fn in_config(config: &ConfigDocument) -> Vec<RunsCode> {
    let package = config.package.as_str();
    if PACKAGES.contains(&package) {
        let place = config.sections.first().map(|section| section.place.clone()).unwrap_or_default();
        return vec![RunsCode { place, what: format!("the package {package}") }];
    }
    let mut found = Vec::new();
    for section in &config.sections {
        for (name, wanted) in &section.options {
            // A value that a variable completes could become anything, but the option stays what it is.
            if wanted.value.is_some() && is_code(&config.package, &section.kind, name) {
                let what = format!("{package}.{}.{name}", section.kind);
                found.push(RunsCode { place: wanted.place.clone(), what });
            }
        }
    }
    found
}

/// Whether an option runs code.
pub(crate) fn is_code(package: &PackageName, kind: &SectionType, option: &OptionName) -> bool {
    let is = |pattern: &str, text: &str| pattern == "*" || pattern == text;
    let is_option = |(of, of_kind, name): &(&str, &str, &str)| {
        is(of, package.as_str()) && is(of_kind, kind.as_str()) && is(name, option.as_str())
    };
    PACKAGES.contains(&package.as_str()) || OPTIONS.iter().any(is_option)
}

impl Variable {
    /// The value, if it is one text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.value.as_str()
    }
}
