//! `rhyzomectl forward`.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use api::{Instance, Reference};
use clap::Args;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use types::{InstanceId, ParseError, Port};

use super::resource::find;
use crate::access::Access;
use crate::holder::launch::Passage;
use crate::output::say;
use crate::readiness::refuse_hopeless;
use crate::session::Session;

/// Connections at one time.
const CONNECTIONS: usize = 48;

/// Carry a local TCP port to a port of an instance.
#[derive(Args, Debug)]
pub struct Forward {
    /// The instance, by name or id
    instance: Reference<InstanceId>,
    /// The port here and the port there, as in 8080:80; one number for both
    #[arg(value_name = "[LOCAL:]REMOTE")]
    ports: Ports,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    local: Port,
    remote: Port,
}

impl FromStr for Ports {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (local, remote) = text.split_once(':').unwrap_or((text, text));
        Ok(Self { local: local.parse()?, remote: remote.parse()? })
    }
}

impl Forward {
    /// Carries connections until interrupted.
    pub async fn run(self, session: &Session) -> anyhow::Result<()> {
        let instance: Instance = find(session, &self.instance).await?;
        refuse_hopeless(&instance)?;
        let address = instance.status.address.context("the instance has no address")?;
        let network = instance.spec.network.id().context("the server did not give the network's id")?;
        let passage = Access::of(&session.home)?.passage(&session.client, network).await?;
        let remote = SocketAddrV4::new(address.ip(), self.ports.remote.get());
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.local.get()));
        let listener = TcpListener::bind(local).await.with_context(|| format!("cannot listen at {local}"))?;
        say(&format!("{local} leads to port {} of instance {}", self.ports.remote, instance.name));
        carry(&listener, Arc::new(passage), remote).await
    }
}

async fn carry(listener: &TcpListener, passage: Arc<Passage>, remote: SocketAddrV4) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.context("cannot accept connections")?;
        while connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        let passage = passage.clone();
        connections.spawn(async move {
            if let Err(error) = carry_one(socket, &passage, remote).await {
                say(&format!("{error:#}"));
            }
        });
    }
}

async fn carry_one(mut socket: TcpStream, passage: &Passage, remote: SocketAddrV4) -> anyhow::Result<()> {
    let mut stream = passage.connect(remote).await?;
    copy_bidirectional(&mut socket, &mut stream).await.context("a connection broke")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_stands_for_both() {
        let ports = |text: &str| text.parse::<Ports>().map(|ports| (ports.local.get(), ports.remote.get()));
        assert_eq!(ports("8080:80").unwrap(), (8080, 80));
        assert_eq!(ports("80").unwrap(), (80, 80));
        assert!(ports("0").is_err() && ports("a:1").is_err() && ports("1:2:3").is_err());
    }
}
