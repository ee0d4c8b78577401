//! `rhyzome admin doctor`: looks for what is wrong, and says what can be done.

mod roll_call;

use std::path::PathBuf;

use ::pki::Authority;
use store::{Caller, Session, Violation};
use time::OffsetDateTime;
use types::ResourceId;

use super::open;
use crate::command::output;
use crate::kind::{self, Managed};
use crate::serve_config::ServeConfig;

/// What the doctor is told.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorOptions {
    /// The core's configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Looks at everything; fails if anything is wrong.
pub async fn run(options: DoctorOptions) -> anyhow::Result<()> {
    // The key that does not belong to the database is found here.
    let (config, store) = open(options.config.as_deref()).await?;
    let mut session = store.read().await?;
    let mut findings = session.violations().await?;
    if let Some(reason) = session.paused().await? {
        findings.push(Violation {
            subject: reason,
            what: "the installation is paused",
            remedy: "rhyzome admin resume shows what would change, and lets it go on",
        });
    }
    findings.extend(unreadable(&mut session).await?);
    findings.extend(sealed(&mut session).await?);
    findings.extend(targets(&mut session).await?);
    findings.extend(roll_call::agents(&mut session).await?);
    findings.extend(roll_call::cores(&mut session).await?);
    drop(session);
    store.close().await;
    findings.extend(certificates(&config));
    for Violation { subject, what, remedy } in &findings {
        output::line(format_args!("{subject}: {what}\n    {remedy}"))?;
    }
    match findings.len() {
        0 => Ok(output::line("nothing is wrong")?),
        1 => anyhow::bail!("one thing is wrong"),
        count => anyhow::bail!("{count} things are wrong"),
    }
}

/// Resources whose rows this release cannot read.
async fn unreadable<Mode: Send>(session: &mut Session<'_, Mode>) -> anyhow::Result<Vec<Violation>> {
    let mut found = Vec::new();
    for id in session.resource_ids(&Caller::core()).await? {
        if let Err(error) = read(session, id).await {
            found.push(Violation {
                subject: format!("{id} ({:#})", anyhow::Error::new(error)),
                what: "the resource cannot be read",
                remedy: "rows were changed by hand: restore a backup, or delete the resource",
            });
        }
    }
    Ok(found)
}

async fn read<Mode: Send>(session: &mut Session<'_, Mode>, id: ResourceId) -> Result<(), store::StoreError> {
    let row = session.resource(&Caller::core(), id).await?;
    kind::every_kind!(id, K => read_kind::<K, Mode>(session, row).await)
}

async fn read_kind<K: Managed, Mode: Send>(
    session: &mut Session<'_, Mode>,
    row: store::ResourceRow,
) -> Result<(), store::StoreError> {
    kind::present::<K, Mode>(session, row).await.map(drop)
}

/// Secrets that the key file does not open.
async fn sealed<Mode>(session: &mut Session<'_, Mode>) -> anyhow::Result<Vec<Violation>> {
    let mut found = Vec::new();
    for id in session.secret_ids(&Caller::core()).await? {
        if session.secret(&Caller::core(), id).await.is_err() {
            found.push(Violation {
                subject: id.to_string(),
                what: "the key file does not open the secret",
                remedy: "put the key file back that the installation was made with",
            });
        }
    }
    Ok(found)
}

/// Targets that are away, and what is on them that nobody asked for.
async fn targets<Mode>(session: &mut Session<'_, Mode>) -> anyhow::Result<Vec<Violation>> {
    let mut found = Vec::new();
    for row in session.targets(&Caller::core(), None).await? {
        let subject = format!("{} {}", row.target.kind, row.target.name);
        found.push(match (row.target.trouble, row.target.connected, row.agent) {
            (Some(trouble), ..) => Violation {
                subject: format!("{subject} ({trouble})"),
                what: "its agent is connected and cannot read it",
                remedy: "the agent tries again every few seconds, once the target is as its configuration says",
            },
            (None, true, _) => continue,
            (None, false, agent) => Violation {
                subject,
                what: match agent {
                    Some(_) => "its agent is not connected",
                    None => "it was invited, and no agent has enrolled",
                },
                remedy: "start its agent, whose log says why it cannot connect",
            },
        });
    }
    let orphans = session.orphans(&Caller::core()).await?;
    let orphans = orphans.into_iter().map(|orphan| Violation {
        subject: format!("{} on {}", orphan.object, orphan.name),
        what: "the target holds what the database does not know",
        remedy: "rhyzome admin orphans adopt, or delete",
    });
    found.extend(orphans);
    Ok(found)
}

/// Certificates that end soon.
fn certificates(config: &ServeConfig) -> Vec<Violation> {
    let now = OffsetDateTime::now_utc();
    let mut found = Vec::new();
    let mut look = |subject: String, pem: Result<String, String>, remedy: &'static str| {
        let facts = pem.and_then(|pem| ::pki::show(&pem).map_err(|error| error.to_string()));
        let what = match facts {
            Ok(facts) if facts.wants_renewal(now) => "two thirds of the certificate's life are over",
            Ok(_) => return,
            Err(error) => {
                return found.push(Violation {
                    subject: format!("{subject} ({error})"),
                    what: "the certificate cannot be read",
                    remedy,
                });
            }
        };
        found.push(Violation { subject, what, remedy });
    };
    let cert = &config.tls.cert;
    let pem = config::file::read(cert).map_err(|error| error.to_string());
    look(cert.display().to_string(), pem, "rhyzome pki renew, or have whoever issued it issue another");
    let authority = Authority::load(&config.authority_dir).map(|authority| authority.certificate_pem().to_owned());
    let remedy = "make another CA with rhyzome pki init, and enrol the agents again";
    look(config.authority_dir.display().to_string(), authority.map_err(|error| error.to_string()), remedy);
    found
}
