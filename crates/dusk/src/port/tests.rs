use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use fleet::archive::Archive;
use fleet::authority::{Authority, Genesis, Statement, Trust};
use fleet::change::{Change, Content, Wish};
use fleet::log::Record;
use fleet::node::Serving;
use fleet::replica::Replica;
use fleet::submission::Submission;
use fleet::voter::Voter;
use fleet::{DeviceId, NodeSecret, Role, Signed, bind};

use super::*;

const ADMIN: u8 = 1;
const MASTER: u8 = 2;
const DEVICE: u8 = 3;
/// Everything here takes a second, or much longer on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// Remembers what was written.
#[derive(Default)]
struct Memory(Vec<(Flash, Vec<u8>)>);

impl Disk for Memory {
    fn append(&mut self, file: Flash, record: &[u8]) -> io::Result<()> {
        self.0.push((file, record.to_vec()));
        Ok(())
    }
}

/// Has no room left.
struct Full;

impl Disk for Full {
    fn append(&mut self, _: Flash, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

fn secret(number: u8) -> NodeSecret {
    NodeSecret::of([number; 32])
}

fn genesis() -> Signed {
    let recovery = secret(9).public().verify;
    Genesis::found("port", "ada".parse().unwrap(), &secret(ADMIN), recovery, &mut |bytes: &mut [u8]| bytes.fill(1))
}

fn submissions() -> Vec<Vec<u8>> {
    let mut authority = Authority::new(genesis()).unwrap();
    let device = |number: u8| Statement::Device {
        key: bind(Some(Genesis::fleet(&genesis())), &secret(number)),
        name: format!("node{number}").parse().unwrap(),
        groups: vec!["ap".parse().unwrap()],
        trust: Trust::Configuration,
        request: None,
    };
    let master = DeviceId::first_known_by(&secret(MASTER).public());
    let voters = Statement::Voters { voters: vec![(master, Role::Master)] };
    let say = |statement: Statement| {
        let signed = authority.sign(&statement, &secret(ADMIN));
        authority.append(signed.clone()).unwrap();
        Submission { record: Record::Authority(signed), content: None }.to_bytes()
    };
    [device(MASTER), device(DEVICE), voters].map(say).to_vec()
}

fn master<D: Disk>(disk: D) -> Port<D> {
    let clock = Clock::start();
    let records: Vec<_> = submissions().into_iter().map(Into::into).collect();
    let journal = Voter::found(&records);
    let key = secret(MASTER).public().noise;
    let mut archive = Archive::new(genesis(), Arc::new(secret(MASTER))).unwrap();
    let voter = Voter::restore(key, journal.iter().map(Vec::as_slice), false, &mut archive, clock.now());
    let serving = Serving::new(archive, voter, clock.now());
    open(MASTER, Some(serving), BTreeMap::new(), disk, clock)
}

fn device(master: SocketAddr) -> Port<Memory> {
    let directory = BTreeMap::from([(secret(MASTER).public().noise, vec![master])]);
    open(DEVICE, None, directory, Memory::default(), Clock::start())
}

fn open<D: Disk>(
    number: u8,
    serving: Option<Serving>,
    directory: BTreeMap<fleet::NoiseKey, Vec<SocketAddr>>,
    disk: D,
    clock: Clock,
) -> Port<D> {
    let replica = Replica::restore(Genesis::fleet(&genesis()), secret(number).public().noise, []);
    let mut circumstances = Circumstances { now: clock.now(), random: &mut System };
    let node = Node::new(&secret(number), replica, serving, directory, &mut circumstances);
    Port::open("127.0.0.1:0".parse().unwrap(), node, disk, clock).unwrap()
}

fn change<D: Disk>(master: &mut Port<D>) -> io::Result<()> {
    let content = Content::new(b"option channel 6".to_vec(), &mut |bytes: &mut [u8]| bytes.fill(3));
    let wish = Wish {
        path: "groups/ap/config/wireless".parse().unwrap(),
        content: Some(content.hash()),
        replaces: None,
        execute: false,
        time: 0,
        note: String::new(),
    };
    let signed = Change::sign(master.node().serving().unwrap().archive.log().authority(), wish, &secret(ADMIN));
    let submission = Submission { record: Record::Change(signed), content: Some(content) }.to_bytes();
    master.with_node(|node, circumstances| node.submit(submission, circumstances))
}

fn until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "it never came true");
    }
}

#[test]
fn a_change_reaches_a_device_over_real_sockets_and_lasts() {
    let mut master = master(Memory::default());
    let mut device = device(master.address().unwrap());
    change(&mut master).unwrap();
    let turn = Duration::from_millis(10);
    let mut events = Vec::new();
    until(|| {
        master.turn(turn).unwrap();
        events.extend(device.turn(turn).unwrap());
        device.node().replica().sections().len() == 1
    });
    assert!(events.contains(&Effect::Apply) && events.contains(&Effect::Reached(secret(MASTER).public().noise)));
    let writes = device.disk.0.iter().map(|(_, write)| write.as_slice());
    let again = Replica::restore(Genesis::fleet(&genesis()), secret(DEVICE).public().noise, writes);
    assert_eq!(again.sections(), device.node().replica().sections());
    // The connection was for catching up; nothing stands open afterwards.
    until(|| {
        master.turn(turn).unwrap();
        device.turn(turn).unwrap();
        master.links.is_empty() && device.links.is_empty()
    });
}

#[test]
fn a_full_flash_ends_the_loop_before_anything_is_said() {
    let mut master = master(Full);
    let failed = change(&mut master).and_then(|()| master.turn(Duration::ZERO).map(drop));
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn strangers_at_both_sockets_cost_little_and_keep_nobody_out() {
    let mut master = master(Memory::default());
    let at = master.address().unwrap();
    let turn = Duration::from_millis(1);
    let mut strangers = Vec::new();
    let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 0..200_u16 {
        let mut stranger = TcpStream::connect(at).unwrap();
        let _ = stranger.write_all(&[0, 133, 0x11]);
        strangers.push(stranger);
        for kind in 0x10..0x16 {
            let _ = flood.send_to(&[&[kind][..], &[7; 132]].concat()[..1 + usize::from(round % 133)], at);
        }
        master.turn(turn).unwrap();
    }
    until(|| {
        master.turn(turn).unwrap();
        master.links.len() <= 64
    });
    assert_eq!(master.node().endpoint().sessions(), 0);
    // From another address, since this one has had its share.
    let mut device = device(at);
    until(|| {
        master.turn(turn).unwrap();
        device.turn(turn).unwrap();
        device.node().replica().authority().is_some()
    });
    drop(strangers);
}
