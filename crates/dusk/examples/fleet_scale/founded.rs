//! The fleet that is measured; numbers give its keys, so that both processes know them.

use std::path::Path;

use fleet::authority::{Authority, Genesis, Statement, Trust};
use fleet::cbor;
use fleet::log::Record;
use fleet::submission::Submission;
use fleet::voter::{Record as Decided, Voter};
use fleet::{DeviceId, FleetId, NodeSecret, Role, Signed, bind};

/// The founder's number, the recovery key's, and the master's.
pub const FOUNDER: u32 = u32::MAX;
const RECOVERY: u32 = u32::MAX - 1;
pub const MASTER: u32 = u32::MAX - 2;

pub fn secret(number: u32) -> NodeSecret {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    NodeSecret::of(seed)
}

pub fn genesis() -> Signed {
    let founder = "ada".parse().expect("invariant: a name");
    let recovery = secret(RECOVERY).public().verify;
    Genesis::found("large", founder, &secret(FOUNDER), recovery, &mut |bytes: &mut [u8]| bytes.fill(1))
}

pub fn fleet() -> FleetId {
    Genesis::fleet(&genesis())
}

/// Writes the journal of a founder who has decided on the master, so many devices, and who votes. It has a process of its
/// own, so that its memory is not the master's.
pub fn found(count: u32, file: &Path) -> anyhow::Result<()> {
    let mut authority = Authority::new(genesis())?;
    let mut submissions: Vec<Decided> = Vec::new();
    let mut say = |statement: &Statement| {
        let signed = authority.sign(statement, &secret(FOUNDER));
        authority.append(signed.clone())?;
        submissions.push(Submission { record: Record::Authority(signed), content: None }.to_bytes().into());
        anyhow::Ok(())
    };
    say(&device(MASTER, "master")?)?;
    for number in 0..count {
        say(&device(number, &format!("ap{number}"))?)?;
    }
    let master = DeviceId::first_known_by(&secret(MASTER).public());
    say(&Statement::Voters { voters: vec![(master, Role::Master)] })?;
    let writes = Voter::found(&submissions).into_iter().map(cbor::Blob).collect::<Vec<_>>();
    Ok(std::fs::write(file, cbor::to_bytes(&writes))?)
}

/// Reads that journal.
pub fn journal(file: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let writes: Vec<cbor::Blob> = cbor::from_bytes(&std::fs::read(file)?, usize::MAX)?;
    Ok(writes.into_iter().map(|write| write.0).collect())
}

fn device(number: u32, name: &str) -> anyhow::Result<Statement> {
    Ok(Statement::Device {
        key: bind(Some(fleet()), &secret(number)),
        name: name.parse()?,
        groups: vec!["ap".parse()?],
        trust: Trust::Configuration,
        request: None,
    })
}
