//! How fast one core verifies a log: 100,000 records, every signature and every right.
#![allow(clippy::unwrap_used, missing_docs)]

use fleet::authority::{Genesis, Statement, Trust};
use fleet::change::{Change, Wish};
use fleet::log::{Log, Record};
use fleet::{ContentHash, DeviceId, NodeSecret, SectionPath, Signed, bind};

const RECORDS: u64 = 100_000;
/// Of so many records, one is an authority entry.
const CHANGES_TO_AN_ENTRY: u64 = 50;

fn secret(number: u64) -> NodeSecret {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    NodeSecret::of(seed)
}

fn founded() -> Signed {
    let mut counting = |bytes: &mut [u8]| bytes.fill(1);
    Genesis::found("bench", "ada".parse().unwrap(), &secret(0), secret(1).public().verify, &mut counting)
}

/// What the record at `index` is: a device that comes, or a change of one of the sections there are.
fn record(log: &Log, index: u64) -> Record {
    if index.is_multiple_of(CHANGES_TO_AN_ENTRY) {
        let (key, name) = (bind(Some(log.authority().fleet()), &secret(1000 + index)), format!("ap-{index}"));
        let groups = vec!["ap".parse().unwrap()];
        let device =
            Statement::Device { key, name: name.parse().unwrap(), groups, trust: Trust::Secrets, request: None };
        return Record::Authority(log.authority().sign(&device, &secret(0)));
    }
    let device =
        DeviceId::first_known_by(&secret(1000 + index % 2000 / CHANGES_TO_AN_ENTRY * CHANGES_TO_AN_ENTRY).public());
    let path: SectionPath = format!("devices/{device}/config/package{}", index % 7).parse().unwrap();
    let replaces = log.map().get(&path).map(|leaf| leaf.change);
    let content = Some(ContentHash::of([7; 32]));
    let wish = Wish { path, content, replaces, execute: false, time: index, note: String::new() };
    Record::Change(Change::sign(log.authority(), wish, &secret(0)))
}

fn main() {
    let genesis = founded();
    let mut log = Log::new(genesis.clone()).unwrap();
    let mut shipped = Vec::new();
    for index in 0..RECORDS {
        let record = record(&log, index);
        log.append(&record).unwrap();
        shipped.push(record.to_bytes());
    }
    let bytes: usize = shipped.iter().map(Vec::len).sum();

    let began = worked();
    let mut verified = Log::new(genesis).unwrap();
    for bytes in &shipped {
        verified.append(&Record::from_bytes(bytes).unwrap()).unwrap();
    }
    let took = worked() - began;
    assert_eq!(verified.summary(), log.summary());
    let rate = RECORDS as f64 / took;
    println!(
        "a log of {RECORDS} records of {} bytes, verified\t12000 /s a core\t{rate:.0} /s\t",
        bytes as u64 / RECORDS
    );
}

/// How long this thread worked so far, in seconds, whoever else works on the machine (proc(5), schedstat).
fn worked() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: u64 = stat.split(' ').next().unwrap().parse().unwrap();
    nanoseconds as f64 / 1e9
}
