//! The master's process: it prints where it is and where it stands, and makes a change whenever a line comes in.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, Result};
use dusk::port::{Clock, Disk, Port, System};
use fleet::archive::Archive;
use fleet::catch_up::Library;
use fleet::change::{Change, Content, Wish};
use fleet::log::Record;
use fleet::node::{Circumstances, Flash, Node, Serving};
use fleet::replica::Replica;
use fleet::submission::Submission;
use fleet::voter::Voter;

use crate::founded::{FOUNDER, MASTER, fleet, genesis, journal, secret};

/// Nothing has to last here.
struct Nowhere;

impl Disk for Nowhere {
    fn append(&mut self, _: Flash, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

pub fn serve(file: &Path, cycle: u16) -> Result<()> {
    let clock = Clock::start();
    let own = secret(MASTER);
    let key = own.public().noise;
    let journal = journal(file)?;
    let mut archive = Archive::new(genesis(), Arc::new(secret(MASTER)))?;
    let voter = Voter::restore(key, journal.iter().map(Vec::as_slice), false, &mut archive, clock.now());
    drop(journal);
    let mut serving = Serving::new(archive, voter, clock.now());
    serving.answerer.set_interval(Some(cycle));
    let replica = Replica::restore(fleet(), key, []);
    let mut circumstances = Circumstances { now: clock.now(), random: &mut System };
    let node = Node::new(&own, replica, Some(serving), BTreeMap::new(), &mut circumstances);
    let mut port = Port::open("127.0.0.1:0".parse()?, node, Nowhere, clock)?;
    port.with_node(Node::poll)?;

    let (lines, asked) = channel();
    std::thread::spawn(move || io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    say_where(&port)?;
    loop {
        port.turn(Duration::from_millis(100))?;
        match asked.try_recv() {
            Ok(_) => {
                change(&mut port)?;
                say_where(&port)?;
            }
            Err(std::sync::mpsc::TryRecvError::Empty) => {}
            Err(std::sync::mpsc::TryRecvError::Disconnected) => return Ok(()),
        }
    }
}

/// `address position entry index checkpoint`
fn say_where(port: &Port<Nowhere>) -> Result<()> {
    let heads = Library::heads(&port.node().serving().context("it serves")?.archive);
    let (authority, checkpoint) = (heads.authority, heads.checkpoint);
    println!("{} {} {} {} {checkpoint}", port.address()?, authority.position, authority.entry, heads.index);
    Ok(())
}

fn change(port: &mut Port<Nowhere>) -> Result<()> {
    let log = port.node().serving().context("it serves")?.archive.log();
    let content = Content::new(vec![b'x'; 2_000], &mut |bytes: &mut [u8]| bytes.fill(3));
    let wish = Wish {
        path: "groups/ap/config/wireless".parse()?,
        content: Some(content.hash()),
        replaces: None,
        execute: false,
        time: 0,
        note: String::new(),
    };
    let signed = Change::sign(log.authority(), wish, &secret(FOUNDER));
    let submission = Submission { record: Record::Change(signed), content: Some(content) }.to_bytes();
    Ok(port.with_node(|node, circumstances| node.submit(submission, circumstances))?)
}
