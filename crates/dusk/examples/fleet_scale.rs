//! What a large fleet costs: so many devices (10,000, or as many as the argument says) against one master process, over
//! loopback.
//!
//! Prints the master's memory, its share of a core at a cycle of 30 s, how long a change takes to reach all, and what an idle
//! device costs on the wire. The devices here ask, keep sessions and catch up as real ones do; they believe what they hear,
//! since ten thousand copies of the authority chain do not fit into one machine.

#[path = "fleet_scale/devices.rs"]
mod devices;
#[path = "fleet_scale/founded.rs"]
mod founded;
#[path = "fleet_scale/master.rs"]
mod master;
#[path = "fleet_scale/process.rs"]
mod process;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use devices::Devices;
use process::Master;

/// Seconds between a device's asks.
const CYCLE: u16 = 30;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [role, count, file] if role == "founder" => founded::found(count.parse()?, file.as_ref()),
        [role, file] if role == "master" => master::serve(file.as_ref(), CYCLE),
        [count] => measure(count.parse()?),
        _ => measure(10_000),
    }
}

fn measure(count: u32) -> Result<()> {
    let began = Instant::now();
    let mut master = Master::start(count)?;
    println!(
        "{count} devices founded and read in {:.1} s; master {:.1} MB",
        began.elapsed().as_secs_f64(),
        master.memory()?
    );

    let cycle = Duration::from_secs(u64::from(CYCLE));
    let mut devices = Devices::new(count, &master.ready, cycle);
    let began = Instant::now();
    while devices.connected() < count && began.elapsed() < cycle * 6 {
        devices.run(Duration::from_millis(500))?;
    }
    ensure!(devices.connected() == count, "{} of {count} devices reached the master", devices.connected());
    println!("all have a session after {:.1} s; master {:.1} MB", began.elapsed().as_secs_f64(), master.memory()?);

    let (before, traffic) = (master.processor_time()?, devices.traffic());
    devices.run(cycle * 2)?;
    let share = (master.processor_time()? - before).as_secs_f64() / (cycle * 2).as_secs_f64();
    let traffic = devices.traffic() - traffic;
    println!(
        "{:.2} % of a core at a cycle of {CYCLE} s; {} of {} asks unanswered",
        share * 100.0,
        traffic.asks - traffic.answers,
        traffic.asks
    );
    println!("{} bytes an idle device and hour at a cycle of 120 s (aim: 5,000)", traffic.bytes_an_hour(120));

    let began = Instant::now();
    let index = master.change()?;
    while devices.at(index) < count && began.elapsed() < cycle * 4 {
        devices.run(Duration::from_millis(200))?;
    }
    ensure!(devices.at(index) == count, "the change reached {} of {count} devices", devices.at(index));
    println!("a change reached all in {:.1} s (aim: {} s, two cycles)", began.elapsed().as_secs_f64(), CYCLE * 2);
    println!("master {:.1} MB at the end, {:.1} MB at most (aim: under 64 MB)", master.memory()?, master.peak()?);
    master.stop().context("end the master")
}
