//! Every decoder of foreign bytes has a fuzz target: one that is added without fails here.

use std::collections::BTreeSet;
use std::path::Path;

/// The fuzz targets by file and test, and the decoders that each one feeds, by file and name.
const FED: &[((&str, &str), &[&str])] = &[
    (("src/apply/journal.rs", "hostile_bytes_are_refused"), &["apply/journal.rs decode"]),
    (("src/catch_up/frame.rs", "any_bytes_are_read_or_refused"), &["catch_up/frame.rs parse"]),
    (("src/cycle/payload.rs", "any_bytes_are_read_or_refused"), &["cycle/payload.rs parse"]),
    (
        ("src/document/tests.rs", "hostile_bytes_are_refused_or_read_and_nothing_else"),
        &["document.rs parse", "document/configuration.rs parse", "layer.rs read"],
    ),
    (
        ("src/rollout/tests.rs", "hostile_bytes_are_refused"),
        &[
            "rollout.rs Rollout",
            "rollout.rs Stage",
            "rollout.rs Staged",
            "rollout.rs Window",
            "rollout.rs from_bytes",
            "rollout/itinerary.rs Itinerary",
            "rollout/itinerary.rs Leg",
            "rollout/itinerary.rs from_bytes",
        ],
    ),
    (("src/status.rs", "hostile_bytes_are_refused"), &["status.rs $name", "status.rs decode"]),
    (("src/voter/journal.rs", "any_bytes_are_a_step_or_the_end"), &["voter/journal.rs restore"]),
    (("src/voter/message.rs", "any_bytes_are_read_or_refused"), &["voter/message.rs decode"]),
    (("src/wire/datagram.rs", "any_bytes_are_read_or_refused"), &["wire/datagram.rs parse"]),
    (
        ("src/wire/endpoint/tests.rs", "any_bytes_are_refused_and_change_nothing"),
        &["wire/handshake.rs open", "wire/session.rs open"],
    ),
    (("src/wire/stream.rs", "any_bytes_are_heard_or_refused"), &["node.rs read"]),
    (
        ("tests/it/hostile.rs", "an_export"),
        &["export.rs Item", "export.rs from_bytes", "export.rs read", "cbor.rs first_bytes"],
    ),
    (
        ("tests/it/hostile.rs", "entries_and_statements"),
        &[
            "authority/entry.rs EntryBody",
            "authority/entry.rs GenesisBody",
            "authority/entry.rs open",
            "authority/entry.rs read",
            "authority/statement.rs $variant",
            "authority/statement.rs Payload",
            "authority/statement.rs read",
            "hash.rs Head",
            "join.rs JoinTerms",
            "join.rs KeyBody",
            "join.rs RequestBody",
            "key.rs NodeKey",
            "right.rs Right",
            "right.rs Verbs",
        ],
    ),
    (
        ("tests/it/hostile.rs", "changes_records_and_checkpoints"),
        &[
            "cbor.rs $type",
            "cbor.rs Blob",
            "cbor.rs String",
            "cbor.rs from_bytes",
            "change.rs ChangeBody",
            "change.rs Content",
            "change.rs read",
            "checkpoint.rs Body",
            "checkpoint.rs Checkpoint",
            "checkpoint.rs from_bytes",
            "log.rs Record",
            "log.rs from_bytes",
            "signed.rs Signed",
            "signed.rs from_bytes",
        ],
    ),
    (("tests/it/hostile.rs", "proofs_of_the_map"), &["map.rs Leaf", "map/proof.rs Item", "map/proof.rs Proof"]),
    (
        ("tests/it/hostile.rs", "keys_that_are_wrapped_and_sealed"),
        &[
            "password.rs Bound",
            "password.rs LockedKey",
            "password.rs Stretching",
            "password.rs from_bytes",
            "seal.rs Context",
            "seal.rs GroupKey",
            "seal.rs Sealed",
            "seal.rs open",
        ],
    ),
    (
        ("tests/it/hostile.rs", "what_people_type"),
        &[
            "address.rs Assignment",
            "address.rs OptionAddress",
            "address.rs SectionAddress",
            "alert.rs Condition",
            "facts.rs Band",
            "join.rs JoinKey",
            "join.rs from_text",
            "name.rs $name",
            "recovery.rs from_text",
            "right.rs Glob",
            "right.rs Right",
            "right.rs Verb",
            "seal.rs Secret",
            "section.rs SectionPath",
            "text.rs $name",
        ],
    ),
    (
        ("tests/it/hostile.rs", "what_devices_hand_in"),
        &[
            "status/said.rs Said",
            "status/said.rs open",
            "join.rs JoinRequest",
            "join.rs from_bytes",
            "join.rs open",
            "submission.rs Submission",
            "submission.rs from_bytes",
        ],
    ),
    (
        ("tests/it/hostile.rs", "what_a_device_takes_and_finds_on_its_flash"),
        &[
            "fork.rs ForkProof",
            "replica.rs ProvenCheckpoint",
            "replica.rs ShippedSection",
            "replica.rs Written",
            "replica.rs restore",
        ],
    ),
    (("tests/it/hostile.rs", "what_a_master_kept"), &["ground.rs parse", "ring.rs parse", "whereabouts.rs parse"]),
];

#[test]
fn every_decoder_has_a_fuzz_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let file = path.strip_prefix(root.join("src")).unwrap().display().to_string();
                found.extend(decoders(&text).map(|name| format!("{file} {name}")));
            }
        }
    }
    let listed: BTreeSet<_> = FED.iter().flat_map(|(_, fed)| fed.iter().map(|name| (*name).to_owned())).collect();
    let without: Vec<_> = found.difference(&listed).collect();
    assert!(without.is_empty(), "decoders without a fuzz target, or not listed in {}: {without:#?}", file!());
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "listed in {}, and decoders no more: {gone:#?}", file!());
    for ((file, test), _) in FED {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let body = text.split(&format!("fn {test}()")).nth(1).unwrap_or_default();
        let body = body.split("#[test]").next().unwrap_or_default();
        assert!(body.contains("Corpus"), "{test} in {file} is a fuzz target");
    }
}

/// The names of what reads bytes or texts in a source file, without its tests.
fn decoders(source: &str) -> impl Iterator<Item = String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    source.lines().filter_map(|line| {
        let line = line.trim();
        let implemented = ["impl Cbor for ", "impl FromStr for ", "impl std::str::FromStr for "];
        if let Some(name) = implemented.iter().find_map(|start| line.strip_prefix(start)) {
            return name.split([' ', '<', '{']).next().map(str::to_owned);
        }
        // A structure as an array of its fields: `Name 3 [one, two, three]`.
        let listed = line.strip_prefix("cbor_arrays! { ").unwrap_or(line);
        if let Some((name, _)) = listed.split_once(' ').filter(|(_, rest)| is_count(rest)) {
            return Some(name.to_owned());
        }
        let (_, function) = line.split_once("pub fn ").or_else(|| line.split_once("pub(super) fn "))?;
        let (name, arguments) = function.split_once('(')?;
        let reads = ["decode", "first_bytes", "from_bytes", "from_text", "open", "parse", "read", "restore"];
        let name = name.split('<').next().unwrap_or_default();
        let takes = ["&[u8]", "&'a [u8]", "&str", "Vec<u8>", "Signed"].iter().any(|form| arguments.contains(form));
        // One that gets a journal that was read before reads nothing foreign itself.
        let is_read = arguments.contains("&Journal");
        (reads.contains(&name) && takes && !is_read).then(|| name.to_owned())
    })
}

fn is_count(rest: &str) -> bool {
    let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    rest.starts_with(" [")
}
