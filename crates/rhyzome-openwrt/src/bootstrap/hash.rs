//! The login's password, and its hash for rpcd.

use anyhow::anyhow;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use sha_crypt::{Sha512Params, sha512_crypt_b64};
use types::SecretText;

/// Rounds of the hash, the fewest that there are: the password is random, and rpcd computes the hash at each login on a
/// processor that may be slow.
const ROUNDS: usize = 1000;

/// A password of 256 random bits.
pub fn random_password() -> anyhow::Result<SecretText> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(SecretText::new(BASE64URL_NOPAD.encode(&bytes)))
}

/// Its hash as crypt(3) makes it, `$6$`.
pub fn crypt(password: &SecretText) -> anyhow::Result<String> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes)?;
    let salt = BASE32_NOPAD.encode(&bytes);
    let params = Sha512Params::new(ROUNDS).map_err(|error| anyhow!("{error:?}"))?;
    let hash = sha512_crypt_b64(password.reveal().as_bytes(), salt.as_bytes(), &params);
    let hash = hash.map_err(|error| anyhow!("{error:?}"))?;
    Ok(format!("$6$rounds={ROUNDS}${salt}${hash}"))
}
