//! Sealed texts in contents: `sealed:GROUP:GENERATION:…` stands for what only that group's devices can read.

use uci::Value;

use crate::document::{PasswordHash, WantedFile};

/// What sealed texts begin with.
const PREFIX: &str = "sealed:";

/// Opens what is sealed to a device's groups.
pub trait Opener {
    /// The secret.
    ///
    /// # Errors
    /// Says why it does not open: the device is not trusted with its group's secrets, or the text was changed.
    fn open(&self, text: &str) -> Result<String, String>;
}

/// Opens nothing: of a device that is not trusted with secrets, or a person who need not know them.
#[derive(Clone, Copy, Debug)]
pub struct NoSecrets;

impl Opener for NoSecrets {
    fn open(&self, _: &str) -> Result<String, String> {
        Err("this device is not trusted with secrets: expected it to be approved with them".to_owned())
    }
}

/// Leaves what is sealed as it is: to look at a configuration without its secrets.
#[derive(Clone, Copy, Debug)]
pub struct LeftSealed;

impl Opener for LeftSealed {
    fn open(&self, text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }
}

impl<F: Fn(&str) -> Result<String, String>> Opener for F {
    fn open(&self, text: &str) -> Result<String, String> {
        self(text)
    }
}

/// Whether a text is a sealed one.
pub(crate) fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// A value with what is sealed in it opened; nothing where nothing is.
pub(crate) fn open_in(value: &Value, opener: &dyn Opener) -> Result<Option<Value>, String> {
    if !value.items().iter().any(|item| is_sealed(item)) {
        return Ok(None);
    }
    let open = |item: &String| if is_sealed(item) { opener.open(item) } else { Ok(item.clone()) };
    Ok(Some(match value {
        Value::Scalar(text) => Value::Scalar(open(text)?),
        Value::List(items) => Value::List(items.iter().map(open).collect::<Result<_, _>>()?),
    }))
}

pub(crate) fn open_file(file: &WantedFile, opener: &dyn Opener) -> Result<WantedFile, String> {
    let sealed = file.content.as_deref().and_then(|content| str::from_utf8(content).ok());
    let Some(sealed) = sealed.map(str::trim).filter(|text| is_sealed(text)) else { return Ok(file.clone()) };
    let opened = opener.open(sealed).map_err(|problem| format!("{}: {problem}", file.path))?;
    Ok(WantedFile { content: Some(opened.into_bytes()), is_secret: true, ..file.clone() })
}

pub(crate) fn open_hash(hash: &PasswordHash, opener: &dyn Opener) -> Result<PasswordHash, String> {
    if !is_sealed(&hash.hash) {
        return Ok(hash.clone());
    }
    let opened = opener.open(&hash.hash).map_err(|problem| format!("the password of {}: {problem}", hash.user))?;
    match opened.contains([':', '\n', '\r']) {
        false => Ok(PasswordHash { hash: opened, ..hash.clone() }),
        // It would become other fields or lines of a file.
        true => Err(format!("the password of {}: what was sealed is no hash", hash.user)),
    }
}
