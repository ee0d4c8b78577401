//! Whether a router would do: a look at all that the agent needs, which changes nothing.

use std::fmt;

use anyhow::Context;
use ubus::{RpcCode, Status, UbusError};

use crate::acl;
use crate::command::{Command, IP, NFT, WG};
use crate::configuration::Configuration;
use crate::router::Router;

/// The least flash that a router should have free, in kilobytes: packages are written anew before old ones go.
const LEAST_FLASH: u64 = 512;
/// How far the router's clock may be from ours, in seconds, before certificates get in the way.
const CLOCK_LEEWAY: i64 = 24 * 3600;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is as it should be.
    pub is_good: bool,
    /// What was found, and what was expected where it is not good.
    pub text: String,
}

impl Finding {
    fn good(text: impl Into<String>) -> Self {
        Self { is_good: true, text: text.into() }
    }

    fn bad(text: impl Into<String>) -> Self {
        Self { is_good: false, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:<4} {}", if self.is_good { "ok" } else { "BAD" }, self.text)
    }
}

/// Looks at a router. An error says that it cannot be looked at at all.
pub async fn examine(router: &Router, configuration: &Configuration, now: i64) -> anyhow::Result<Vec<Finding>> {
    let session = router.session().await.context("login")?;
    let mut findings: Vec<_> = acl::lacking(session.rights())
        .into_iter()
        .map(|right| Finding::bad(format!("the login may not {right}: install the access list of this version")))
        .collect();
    // Ending is only tidiness; it ends by itself.
    let _ = session.destroy().await;
    if findings.is_empty() {
        findings.push(Finding::good("the login may do all that is needed"));
    }
    findings.extend(release(router).await);
    findings.extend(figures(router, now).await);
    findings.extend(programs(router).await);
    findings.extend(surroundings(router, configuration).await);
    Ok(findings)
}

async fn release(router: &Router) -> Vec<Finding> {
    match router.board().await {
        Ok(board) => vec![match board.check() {
            Ok(()) => Finding::good(board.to_string()),
            Err(error) => Finding::bad(error.to_string()),
        }],
        Err(error) => vec![Finding::bad(format!("{error:#}"))],
    }
}

async fn figures(router: &Router, now: i64) -> Vec<Finding> {
    let info = match router.info().await {
        Ok(info) => info,
        Err(error) => return vec![Finding::bad(format!("{error:#}"))],
    };
    let off = (info.localtime - now).abs();
    vec![
        match info.root.free >= LEAST_FLASH {
            true => Finding::good(info.to_string()),
            false => Finding::bad(format!(
                "{} kB of flash are free; expected {LEAST_FLASH} or more: remove packages or files",
                info.root.free
            )),
        },
        match off <= CLOCK_LEEWAY {
            true => Finding::good("the clock is right"),
            false => Finding::bad(format!(
                "the clock is {} days off; expected the time: set up NTP on the router",
                off / 86_400
            )),
        },
    ]
}

/// The programs that the agent runs; a router that has none of them lacks the package.
async fn programs(router: &Router) -> Vec<Finding> {
    let wanted = [
        (WG, "show rz0 allowed-ips", "wireguard-tools"),
        (IP, "-4 route show table 10000", "ip-tiny"),
        (NFT, "list chain inet fw4 input_rz0", "nftables-json"),
    ];
    let mut findings = Vec::new();
    for (program, arguments, package) in wanted {
        let answer = router.run(&Command::new(program, arguments)).await;
        let refusal = answer.as_ref().err().and_then(|error| error.downcast_ref::<UbusError>());
        findings.push(match refusal {
            None if answer.is_ok() => Finding::good(format!("{program} is there")),
            Some(UbusError::Rpc { code: RpcCode::ObjectNotFound, .. }) => {
                Finding::bad("rpcd has no object file: opkg install rpcd-mod-file")
            }
            Some(error) if error.status() == Some(Status::NotFound) => {
                Finding::bad(format!("{program} is not there: opkg install {package}"))
            }
            _ => Finding::bad(answer.err().map(|error| format!("{error:#}")).unwrap_or_default()),
        });
    }
    findings
}

async fn surroundings(router: &Router, configuration: &Configuration) -> Vec<Finding> {
    let mut findings = Vec::new();
    let wan = &configuration.wan_interface;
    findings.push(match router.dump().await {
        Ok(dump) if dump.interface.iter().any(|interface| interface.interface == *wan) => {
            Finding::good(format!("interface {wan} is there"))
        }
        Ok(dump) => {
            let names: Vec<_> = dump.interface.iter().map(|interface| interface.interface.as_str()).collect();
            Finding::bad(format!("wan_interface: there is no interface {wan}; expected one of {}", names.join(", ")))
        }
        Err(error) => Finding::bad(format!("{error:#}")),
    });
    let zone = configuration.wan_zone.to_string();
    findings.push(match router.config().await {
        Ok(config) => {
            let zones = config.get("firewall").into_iter().flat_map(|firewall| firewall.of_kind("zone"));
            let names: Vec<_> = zones.filter_map(|section| section.text("name")).collect();
            match names.contains(&zone.as_str()) {
                true => Finding::good(format!("firewall zone {zone} is there")),
                false => {
                    Finding::bad(format!("wan_zone: there is no zone {zone}; expected one of {}", names.join(", ")))
                }
            }
        }
        Err(error) => Finding::bad(error.to_string()),
    });
    findings
}
