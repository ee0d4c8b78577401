//! Configuration files: JSON, read once at the start, refused with one clear sentence when something is wrong.
//!
//! A program's file is the one it was told, or `<name>.json` in the working directory, or the same in /etc/rhyzome.
//! A type that [`load`] reads says `#[serde(deny_unknown_fields)]`, so that a slip of the pen is named and not ignored.
//! [`file`] reads and writes the files that a configuration points at, private ones with due care. No clock, no
//! network, no TLS: this crate hands bytes over and judges only who may read them.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod file;
pub mod tls;

mod error;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use error::{ConfigError, Place, nearest, unknown_key};
pub use file::FileError;
pub use tls::{Tls, TlsFiles, TlsTrust};

/// Where configuration files lie that are not in the working directory.
pub const SYSTEM_DIRECTORY: &str = "/etc/rhyzome";

/// A configuration and the file it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<T> {
    /// What the file says.
    pub value: T,
    /// The file.
    pub path: PathBuf,
}

/// Reads a configuration from `explicit`, or else from `file_name` (as in `rhyzome.json`) in the working directory or
/// [`SYSTEM_DIRECTORY`], whichever is there first.
pub fn load<T: DeserializeOwned>(explicit: Option<&Path>, file_name: &str) -> Result<Loaded<T>, ConfigError> {
    match explicit {
        Some(path) => load_file(path),
        None => load_first(&[Path::new(file_name).to_owned(), Path::new(SYSTEM_DIRECTORY).join(file_name)]),
    }
}

/// Reads a configuration from its text; `file` is where it came from, for the error.
pub fn parse<T: DeserializeOwned>(text: &str, file: &Path) -> Result<T, ConfigError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let at = error.path().to_string();
        ConfigError::of_json(file, &at, &error.into_inner())
    })?;
    json.end().map_err(|error| ConfigError::of_json(file, ".", &error))?;
    Ok(value)
}

fn load_file<T: DeserializeOwned>(path: &Path) -> Result<Loaded<T>, ConfigError> {
    let value = parse(&file::read(path)?, path)?;
    Ok(Loaded { value, path: path.to_owned() })
}

fn load_first<T: DeserializeOwned>(places: &[PathBuf]) -> Result<Loaded<T>, ConfigError> {
    for place in places {
        match load_file(place) {
            Err(ConfigError::File(error)) if error.is_missing() => {}
            loaded => return loaded,
        }
    }
    Err(ConfigError::Missing { looked_for: places.to_vec() })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Program {
        listen: String,
        #[serde(default)]
        agents: Vec<Agent>,
        tls: Option<Tls>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Agent {
        state_dir: PathBuf,
    }

    fn complaint(text: &str) -> String {
        parse::<Program>(text, Path::new("program.json")).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_known() {
        assert_eq!(
            complaint("{\n  \"listne\": \"x\"\n}"),
            "program.json:2:10: unknown key \"listne\"; did you mean \"listen\"? (known here: listen, agents, tls)"
        );
        assert_eq!(
            complaint(r#"{"listen": "x", "agents": [{"state_dir": "/a"}, {"statedir": "/b"}]}"#),
            "program.json:1:59: unknown key \"statedir\" in agents[1]; did you mean \"state_dir\"? (known here: state_dir)"
        );
        assert_eq!(
            complaint(r#"{"zebra": 1}"#),
            "program.json:1:8: unknown key \"zebra\" (known here: listen, agents, tls)"
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_its_place() {
        assert_eq!(
            complaint("{\"listen\": \"x\",\n \"agents\": [{\"state_dir\": 7}]}"),
            "program.json:2:27: agents[0].state_dir: invalid type: integer `7`, expected path string"
        );
        assert_eq!(complaint("{}"), "program.json:1:2: missing field `listen`");
        assert_eq!(complaint("{\"listen\": \"x\",}"), "program.json:1:16: trailing comma");
        assert_eq!(complaint("{\"listen\": \"x\"} {"), "program.json:1:17: trailing characters");
    }

    #[test]
    fn the_first_place_that_has_a_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().join("here.json"), dir.path().join("there.json")];
        let missing = load_first::<Program>(&places).unwrap_err();
        assert!(matches!(&missing, ConfigError::Missing { looked_for } if looked_for == &places));
        assert!(missing.to_string().contains("here.json and "), "{missing}");

        std::fs::write(&places[1], r#"{"listen": "there"}"#).unwrap();
        let there = load_first::<Program>(&places).unwrap();
        assert_eq!((there.value.listen.as_str(), &there.path), ("there", &places[1]));

        std::fs::write(&places[0], r#"{"listen": "here"}"#).unwrap();
        assert_eq!(load_first::<Program>(&places).unwrap().value.listen, "here");

        std::fs::write(&places[0], "{").unwrap();
        assert!(load_first::<Program>(&places).is_err(), "a broken file must not be passed over");
    }

    #[test]
    fn a_file_that_was_asked_for_must_be_there() {
        let error = load::<Program>(Some(Path::new("/nowhere/program.json")), "program.json").unwrap_err();
        assert!(matches!(error, ConfigError::File(_)), "{error}");
    }
}
