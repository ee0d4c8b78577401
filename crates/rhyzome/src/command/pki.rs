//! `rhyzome pki`: the CA and the certificates of servers.

use std::path::PathBuf;

use ::pki::{Authority, SERVER_DAYS, ServerName};
use anyhow::Context;
use clap::Subcommand;
use time::OffsetDateTime;

use super::output;

/// What can be done with certificates.
#[derive(Clone, Debug, Subcommand)]
pub enum PkiCommand {
    /// Make a CA in a folder; one that is there already stays as it is.
    Init {
        /// The CA's folder.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Issue a server's certificate and key.
    Issue {
        /// The CA's folder.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// A name or address that the server is reached under; may be given more than once.
        #[arg(long = "name", value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Where the certificate goes.
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// Where the key goes.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Renew a server's certificate that has lived two thirds of its life; the key stays.
    Renew {
        /// The CA's folder.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The certificate, which is replaced.
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// Renew it however young it is.
        #[arg(long)]
        force: bool,
    },
    /// Show what a certificate says.
    Show {
        /// The certificate.
        #[arg(value_name = "FILE")]
        cert: PathBuf,
    },
}

/// Does it.
pub fn run(command: PkiCommand) -> anyhow::Result<()> {
    let now = OffsetDateTime::now_utc();
    match command {
        PkiCommand::Init { dir } => {
            let authority = Authority::load_or_init(&dir, now)?;
            output::line(authority.facts())?;
        }
        PkiCommand::Issue { dir, names, cert, key } => {
            let authority = Authority::load(&dir)?;
            let names = names
                .iter()
                .map(|name| {
                    ServerName::try_from(name.as_str())
                        .with_context(|| format!("{name:?} is no host name and no address"))
                })
                .collect::<anyhow::Result<Vec<_>>>()?;
            let issued = authority.issue_server(&names, now, SERVER_DAYS)?;
            issued.write(&cert, &key)?;
            output::line(::pki::show(&issued.certificate_pem)?)?;
        }
        PkiCommand::Renew { dir, cert, force } => {
            let authority = Authority::load(&dir)?;
            let current = config::file::read(&cert)?;
            let facts = ::pki::show(&current).map_err(|error| error.in_file(&cert))?;
            if !force && !facts.wants_renewal(now) {
                output::line(format_args!("{}: young enough", cert.display()))?;
                return Ok(());
            }
            let renewed = authority.renew_server(&current, now, SERVER_DAYS)?;
            config::file::write_public(&cert, renewed.as_bytes())?;
            output::line(::pki::show(&renewed)?)?;
        }
        PkiCommand::Show { cert } => {
            let facts = ::pki::show(&config::file::read(&cert)?).map_err(|error| error.in_file(&cert))?;
            output::line(facts)?;
        }
    }
    Ok(())
}
