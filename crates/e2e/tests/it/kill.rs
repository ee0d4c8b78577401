//! Programs are killed at random moments while things are asked for and given up. In the end what was asked for is
//! there and nothing else is: in the interface, in the database, and on routers and hypervisors.
//!
//! `RHYZOME_KILL_SEED` repeats a run; `RHYZOME_KILL_RUNS` says how many simulated ones there are.

mod chance;
mod ledger;
mod machine_remains;
mod simulated_remains;
mod wishes;

use std::cell::Cell;
use std::time::Duration;

use api::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pki::{Alpn, Roots};
use tokio::time::{Instant, sleep};

use chance::Chance;
use e2e::installation::Installation;
use e2e::{image, machine, outside};
use wishes::Wishes;

/// How long after the last kill everything must be as asked.
const RECOVERY: Duration = Duration::from_secs(120);
/// Kills at most while things are asked for, and again while they are given up: some requests wait for others to end, and
/// where the machine is slow nothing ends between two kills.
const KILLS: usize = 20;
/// How long a program that was killed may be away.
const RESTART: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(250);

/// What is killed, and how.
struct Storm {
    /// Longest time between two kills. Each program is killed once in every round, so none is left out.
    pause: Duration,
    /// Longest time between two requests.
    request_pause: Duration,
    /// Most instances at a time.
    instances: usize,
}

#[test]
fn what_is_wanted_survives_kills_over_simulated_targets() {
    let runs: u64 = std::env::var("RHYZOME_KILL_RUNS").map_or(8, |text| text.parse().unwrap());
    let first = Chance::seed();
    let threads: Vec<_> = (0..runs)
        .map(|run| {
            let seed = first.wrapping_add(run);
            let thread = std::thread::Builder::new().name(format!("seed {seed}"));
            (seed, thread.spawn(move || simulated_run(seed)).unwrap())
        })
        .collect();
    let failed: Vec<u64> = threads.into_iter().filter_map(|(seed, thread)| thread.join().err().map(|_| seed)).collect();
    assert!(failed.is_empty(), "repeat each with RHYZOME_KILL_RUNS=1 RHYZOME_KILL_SEED=…: {failed:?}");
}

fn simulated_run(seed: u64) {
    let mut chance = Chance::new(seed);
    let installation = Installation::simulated();
    installation.up();
    let storm = Storm { pause: Duration::from_millis(1500), request_pause: Duration::from_millis(250), instances: 20 };
    let database = installation.data().join("core/rhyzome.sqlite");
    let remains = async |wishes: &Wishes, client: &Client| {
        let mut differences = ledger::differences(&database, wishes).await;
        differences.extend(simulated_remains::differences(&installation, client).await);
        differences
    };
    on_runtime(weather(&installation, &storm, &mut chance, seed, remains));
    installation.down();
}

#[test]
fn what_is_wanted_survives_kills_of_the_real_parts() {
    let tiny = image::tiny();
    machine::on_own_machine("kill::what_is_wanted_survives_kills_of_the_real_parts", || {
        outside::build();
        let seed = Chance::seed();
        let mut chance = Chance::new(seed);
        let installation = Installation::new();
        installation.up();
        installation.ctl(&["image", "import", "tiny", tiny.to_str().unwrap(), "--wait"]);
        let storm = Storm { pause: Duration::from_secs(4), request_pause: Duration::from_millis(900), instances: 4 };
        let database = installation.data().join("core/rhyzome.sqlite");
        let remains = async |wishes: &Wishes, _: &Client| {
            let mut differences = ledger::differences(&database, wishes).await;
            differences.extend(machine_remains::differences(&installation, wishes));
            differences
        };
        on_runtime(weather(&installation, &storm, &mut chance, seed, remains));
        installation.down();
    });
}

/// Asks while programs die, looks, gives everything up while programs die, and looks again.
async fn weather(
    installation: &Installation,
    storm: &Storm,
    chance: &mut Chance,
    seed: u64,
    remains: impl AsyncFn(&Wishes, &Client) -> Vec<String>,
) {
    println!("seed {seed} (RHYZOME_KILL_SEED)");
    let client = client(installation);
    let mut wishes = Wishes::default();
    let mut deaths = Chance::new(chance.bits());
    let asked = Cell::new(false);
    let ask = async {
        wishes.ask(&client, chance, storm.instances, storm.request_pause).await;
        asked.set(true);
    };
    tokio::join!(ask, rage(installation, storm, &mut deaths, &asked));
    settle(&wishes.count(), seed, installation, &client, &wishes, &remains).await;
    let dropped = Cell::new(false);
    let give_up = async {
        wishes.drop_all(&client).await;
        dropped.set(true);
    };
    tokio::join!(give_up, rage(installation, storm, &mut deaths, &dropped));
    settle("nothing", seed, installation, &client, &wishes, &remains).await;
}

/// Kills all programs, one after the other in an order of chance, again and again until all was asked for or there were
/// enough kills.
async fn rage(installation: &Installation, storm: &Storm, chance: &mut Chance, asked: &Cell<bool>) {
    let mut kills = 0;
    while !asked.get() && kills < KILLS {
        let mut left: Vec<String> = installation.processes().into_keys().collect();
        while !left.is_empty() {
            sleep(chance.up_to(storm.pause)).await;
            let name = left.swap_remove(chance.below(left.len()));
            println!("kill {}: {name}", kills + 1);
            kill_running(installation, &name).await;
            kills += 1;
        }
    }
}

/// Kills a program; one that died of an earlier kill is waited for until it runs again.
async fn kill_running(installation: &Installation, name: &str) {
    let deadline = Instant::now() + RESTART;
    while !kill_process(installation.processes()[name]) {
        assert!(Instant::now() < deadline, "{name} was not started again within {} s", RESTART.as_secs());
        sleep(LOOK).await;
    }
}

/// Whether there was such a process, and no mere remains of one.
fn kill_process(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    state != Some('Z') && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}

async fn settle(
    what: &str,
    seed: u64,
    installation: &Installation,
    client: &Client,
    wishes: &Wishes,
    remains: impl AsyncFn(&Wishes, &Client) -> Vec<String>,
) {
    let began = Instant::now();
    loop {
        let mut differences = wishes.differences(client).await;
        if differences.is_empty() {
            differences = remains(wishes, client).await;
        }
        if differences.is_empty() {
            println!("seed {seed}: there: {what}; {:.1} s after the last kill", began.elapsed().as_secs_f64());
            return;
        }
        if began.elapsed() > RECOVERY {
            installation.show_logs();
            panic!(
                "seed {seed}: {} s after the last kill, what should be there: {what}; {differences:#?}",
                RECOVERY.as_secs()
            );
        }
        sleep(LOOK).await;
    }
}

fn client(installation: &Installation) -> Client {
    pki::install_provider();
    let told: serde_json::Value = installation.told("rhyzomectl");
    let file = |key: &str| std::path::PathBuf::from(told[key].as_str().unwrap());
    let roots = Roots::from_pem(&config::file::read(&file("ca")).unwrap()).unwrap();
    let tls = pki::client_config(&roots, None, Alpn::Http1).unwrap();
    let token = config::file::read_secret(&file("token_file")).unwrap();
    Client::new(told["url"].as_str().unwrap(), token, tls).unwrap()
}

fn on_runtime(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}
