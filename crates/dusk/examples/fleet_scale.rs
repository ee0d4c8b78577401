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
    row(&format!("a fleet of {count} founded and read"), "", &seconds(began));
    row("  memory of the master", "", &megabytes(master.memory()?));

    let cycle = Duration::from_secs(u64::from(CYCLE));
    let mut devices = Devices::new(count, &master.ready, cycle);
    let began = Instant::now();
    while devices.connected() < count && began.elapsed() < cycle * 6 {
        devices.run(Duration::from_millis(500))?;
    }
    ensure!(devices.connected() == count, "{} of {count} devices reached the master", devices.connected());
    row("all of them have a session", "", &seconds(began));
    row("  memory of the master", "", &megabytes(master.memory()?));

    let (before, traffic) = (master.processor_time()?, devices.traffic());
    devices.run(cycle * 2)?;
    let share = (master.processor_time()? - before).as_secs_f64() / (cycle * 2).as_secs_f64();
    let traffic = devices.traffic() - traffic;
    row(&format!("processor time of the master, a cycle of {CYCLE} s"), "", &format!("{:.2} %", share * 100.0));
    row("  asks unanswered", "", &format!("{} of {}", traffic.asks.saturating_sub(traffic.answers), traffic.asks));
    row("an idle device in an hour, a cycle of 120 s", "5000 bytes", &format!("{} bytes", traffic.bytes_an_hour(120)));

    let began = Instant::now();
    let index = master.change()?;
    while devices.at(index) < count && began.elapsed() < cycle * 4 {
        devices.run(Duration::from_millis(200))?;
    }
    ensure!(devices.at(index) == count, "the change reached {} of {count} devices", devices.at(index));
    row("a change reaches all", &format!("{} s, two cycles", CYCLE * 2), &seconds(began));
    row("memory of the master at most", "under 64 MB", &megabytes(master.peak()?));
    master.stop().context("end the master")
}

/// Prints a figure as bench/run puts it into its table.
fn row(figure: &str, aim: &str, measured: &str) {
    println!("{figure}\t{aim}\t{measured}\t");
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

fn megabytes(amount: f64) -> String {
    format!("{amount:.1} MB")
}
