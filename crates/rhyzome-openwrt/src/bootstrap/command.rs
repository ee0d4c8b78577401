//! The command line of `bootstrap`.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::Args;
use pki::{Authority, Fingerprint};
use types::SecretText;

use super::{Address, Order, ROOT_ACL, pinned, prompt, run, shown, touched, undo};

/// What `bootstrap` is told.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The router, as in https://192.168.1.1
    #[arg(required_unless_present_any = ["list", "access_list"])]
    url: Option<Address>,
    /// The SHA-256 fingerprint of the router's certificate; without it you are shown it and asked
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,
    /// The file with root's password, readable by its owner alone; without it you are asked
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The folder of the CA, with ca.pem and ca-key.pem
    #[arg(long, value_name = "DIR", default_value = "/etc/rhyzome/ca")]
    ca: PathBuf,
    /// Where the agent's configuration, its password and the journal of this go
    #[arg(long, value_name = "DIR", default_value = "/etc/rhyzome")]
    folder: PathBuf,
    /// The file that our programs on this machine lock while they change the router
    #[arg(long, value_name = "FILE", default_value = "/run/rhyzome-router.lock")]
    lock_file: PathBuf,
    /// Take back what an earlier run changed
    #[arg(long)]
    undo: bool,
    /// Only show each file and section that is touched on the router
    #[arg(long)]
    list: bool,
    /// Only print the access list that root needs for this
    #[arg(long)]
    access_list: bool,
}

/// Does what it is told.
pub async fn execute(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.access_list {
        print!("{ROOT_ACL}");
        return Ok(());
    }
    if arguments.list {
        touched().iter().for_each(|line| println!("{line}"));
        return Ok(());
    }
    let address = arguments.url.context("expected the address of a router")?;
    config::file::make_private_directory(&arguments.folder)?;
    let authority = match arguments.undo {
        true => None,
        false => Some(Authority::load(&arguments.ca).context("--ca")?),
    };
    let known = pinned(&arguments.folder, &address)?;
    let pin = match known {
        Some(pin) => pin,
        None if arguments.undo => bail!("{} holds no journal of a bootstrap", arguments.folder.display()),
        None => agree(&address, arguments.fingerprint).await?,
    };
    let password = match &arguments.password_file {
        Some(file) => config::file::read_secret(file).context("--password-file")?,
        None => prompt::secret(&format!("password of root on {}: ", address.host()))?,
    };
    let password = SecretText::new(password.reveal().trim_end_matches('\n').to_owned());
    let order = Order { address, folder: arguments.folder, lock: arguments.lock_file, password };
    match &authority {
        Some(authority) => {
            run(&order, pin, authority).await?;
            println!("{} is in service; rhyzome-openwrt check looks at it again", order.address.url());
        }
        None => {
            for line in undo(&order).await? {
                println!("{line}");
            }
            println!("{} is as it was", order.address.url());
        }
    }
    Ok(())
}

/// The fingerprint that the operator agrees to.
async fn agree(address: &Address, told: Option<Fingerprint>) -> anyhow::Result<Fingerprint> {
    let facts = shown(address).await?;
    if let Some(told) = told {
        ensure!(
            told == facts.fingerprint,
            "the router's certificate has the fingerprint {}; expected {told}: is it the right router?",
            facts.fingerprint
        );
        return Ok(told);
    }
    eprintln!("{facts}");
    match prompt::agrees("Is this the certificate of your router? Compare it on its console or over SSH. [y/N] ")? {
        true => Ok(facts.fingerprint),
        false => bail!("nothing was changed"),
    }
}
