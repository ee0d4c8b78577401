//! `rhyzome up` and `rhyzome down` without guests: what fails is said, what was made is removed.

use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use e2e::installation::Installation;
use e2e::{machine, outside};

#[test]
fn a_second_up_and_a_second_down_change_nothing() {
    machine::on_own_machine("up::a_second_up_and_a_second_down_change_nothing", || {
        outside::build();
        let before = machine::inventory();
        let installation = Installation::new();
        installation.down();
        installation.up();
        let processes = installation.processes();
        let again = installation.try_up();
        assert!(again.worked && again.all.contains("up already"), "{}", again.all);
        assert_eq!(installation.processes(), processes);
        installation.down();
        machine::assert_as_before(&before);
        installation.down();
        machine::assert_as_before(&before);
    });
}

#[test]
fn down_takes_away_what_a_killed_up_left() {
    machine::on_own_machine("up::down_takes_away_what_a_killed_up_left", || {
        outside::build();
        let before = machine::inventory();
        let installation = Installation::new();
        installation.up();
        installation.ctl(&["network", "create", "red", "--wait"]);
        kill(Pid::from_raw(installation.supervisor()), Signal::SIGKILL).unwrap();
        for pid in installation.processes().into_values() {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        }
        assert_ne!(machine::inventory(), before, "the dead leave something behind, or this test is worth nothing");
        installation.down();
        machine::assert_as_before(&before);
    });
}

#[test]
fn an_up_that_fails_says_why_and_leaves_nothing() {
    machine::on_own_machine("up::an_up_that_fails_says_why_and_leaves_nothing", || {
        outside::build();
        let before = machine::inventory();
        let _taken = TcpListener::bind("127.0.0.1:7443").unwrap();
        let installation = Installation::new();
        let answer = installation.try_up();
        assert!(!answer.worked);
        assert!(
            answer.all.contains("rhyzome does not come up") && answer.all.contains("rhyzome.log"),
            "{}",
            answer.all
        );
        assert!(answer.all.contains("127.0.0.1:7443"), "the reason is quoted from the log: {}", answer.all);
        machine::assert_as_before(&before);
    });
}
