//! Password hashes of `crypt(3)`: `$1$` (MD5), `$5$` (SHA-256) and `$6$` (SHA-512), as rpcd's logins hold them.
//! The algorithms are Poul-Henning Kamp's and Ulrich Drepper's ("Unix crypt using SHA-256 and SHA-512").

use md5::Md5;
use sha2::{Digest, Sha256, Sha512};

/// Whether `password` hashes to `hash`. A text that is no such hash matches nothing, itself included.
#[must_use]
pub fn matches(hash: &str, password: &str) -> bool {
    compute(hash, password.as_bytes()).is_some_and(|computed| same(computed.as_bytes(), hash.as_bytes()))
}

/// Compares without telling by its duration where the two differ.
#[must_use]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}

fn compute(hash: &str, password: &[u8]) -> Option<String> {
    let (scheme, rest) = hash.strip_prefix('$')?.split_once('$')?;
    match scheme {
        "1" => {
            let salt = cut(rest.split_once('$')?.0, 8);
            Some(format!("$1${salt}${}", md5_crypt(password, salt.as_bytes())))
        }
        "5" => sha_crypt::<Sha256>("5", rest, password, &ORDER_256),
        "6" => sha_crypt::<Sha512>("6", rest, password, &ORDER_512),
        _ => None,
    }
}

fn cut(salt: &str, limit: usize) -> &str {
    salt.char_indices().nth(limit).map_or(salt, |(end, _)| &salt[..end])
}

/// How many rounds SHA-crypt makes where the hash does not say.
const ROUNDS: usize = 5000;
/// The most rounds that we are ready to make: a hash in a config must not stop the router.
const MOST_ROUNDS: usize = 1_000_000;

fn sha_crypt<D: Digest>(scheme: &str, rest: &str, password: &[u8], order: &[[u8; 3]]) -> Option<String> {
    let (asked, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$')?;
            (Some(rounds.parse::<usize>().ok()?.clamp(1000, 999_999_999)), rest)
        }
        None => (None, rest),
    };
    let rounds = asked.unwrap_or(ROUNDS);
    if rounds > MOST_ROUNDS {
        return None;
    }
    let salt = cut(rest.split_once('$')?.0, 16);
    let salt_bytes = salt.as_bytes();

    let b = D::new().chain_update(password).chain_update(salt_bytes).chain_update(password).finalize();
    let mut a = D::new().chain_update(password).chain_update(salt_bytes).chain_update(repeat(&b, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            a.update(&b);
        } else {
            a.update(password);
        }
        bits >>= 1;
    }
    let mut a = a.finalize();

    let mut dp = D::new();
    (0..password.len()).for_each(|_| dp.update(password));
    let p = repeat(&dp.finalize(), password.len());
    let mut ds = D::new();
    (0..16 + usize::from(a[0])).for_each(|_| ds.update(salt_bytes));
    let s = repeat(&ds.finalize(), salt_bytes.len());

    for round in 0..rounds {
        let mut c = D::new();
        if round % 2 == 1 {
            c.update(&p);
        } else {
            c.update(&a);
        }
        if round % 3 != 0 {
            c.update(&s);
        }
        if round % 7 != 0 {
            c.update(&p);
        }
        if round % 2 == 1 {
            c.update(&a);
        } else {
            c.update(&p);
        }
        a = c.finalize();
    }

    let mut text = String::new();
    for &[x, y, z] in order {
        push(&mut text, byte(&a, x) << 16 | byte(&a, y) << 8 | byte(&a, z), 4);
    }
    match a.len() {
        32 => push(&mut text, byte(&a, 31) << 8 | byte(&a, 30), 3),
        _ => push(&mut text, byte(&a, 63), 2),
    }
    let shown = asked.map_or_else(String::new, |rounds| format!("rounds={rounds}$"));
    Some(format!("${scheme}${shown}{salt}${text}"))
}

fn md5_crypt(password: &[u8], salt: &[u8]) -> String {
    let b = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut a = Md5::new().chain_update(password).chain_update(b"$1$").chain_update(salt);
    a.update(repeat(&b, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            a.update([0]);
        } else {
            a.update(password.get(..1).unwrap_or_default());
        }
        bits >>= 1;
    }
    let mut a = a.finalize();
    for round in 0..1000 {
        let mut c = Md5::new();
        if round % 2 == 1 {
            c.update(password);
        } else {
            c.update(a);
        }
        if round % 3 != 0 {
            c.update(salt);
        }
        if round % 7 != 0 {
            c.update(password);
        }
        if round % 2 == 1 {
            c.update(a);
        } else {
            c.update(password);
        }
        a = c.finalize();
    }
    let mut text = String::new();
    for [x, y, z] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        push(&mut text, byte(&a, x) << 16 | byte(&a, y) << 8 | byte(&a, z), 4);
    }
    push(&mut text, byte(&a, 11), 2);
    text
}

/// `digest` over and over, `length` bytes of it.
fn repeat(digest: &[u8], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

fn byte(digest: &[u8], at: u8) -> u32 {
    digest[usize::from(at)].into()
}

/// Writes the low bits of `value`, six a character, lowest first.
fn push(text: &mut String, mut value: u32, characters: usize) {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..characters {
        text.push(char::from(ALPHABET[(value & 0x3f) as usize]));
        value >>= 6;
    }
}

const ORDER_256: [[u8; 3]; 10] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

const ORDER_512: [[u8; 3]; 21] = [
    [0, 21, 42],
    [22, 43, 1],
    [44, 2, 23],
    [3, 24, 45],
    [25, 46, 4],
    [47, 5, 26],
    [6, 27, 48],
    [28, 49, 7],
    [50, 8, 29],
    [9, 30, 51],
    [31, 52, 10],
    [53, 11, 32],
    [12, 33, 54],
    [34, 55, 13],
    [56, 14, 35],
    [15, 36, 57],
    [37, 58, 16],
    [59, 17, 38],
    [18, 39, 60],
    [40, 61, 19],
    [62, 20, 41],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_the_real_crypt_match_their_passwords_alone() {
        for (hash, password) in [
            ("$1$md5salt$VDFURUoXB6mq6nD.suBz//", "md5-secret"),
            ("$5$opsalt$U0W.ovK229rrjgjt4MFcpUBaxdL2/MDQOcab1zVuHc6", "operator-secret"),
            (
                "$6$viewersalt$Di8CUc1vb/2cXTfz7NP9q/NL6QM1k0ztK0Yqzc8NahiV0VqaWAAP7qDjogPM10Bi2mfUwhZfj8tLA1gURtyTP.",
                "viewer-secret",
            ),
        ] {
            assert!(matches(hash, password), "{hash}");
            assert!(!matches(hash, "other"), "{hash}");
        }
    }

    #[test]
    fn plain_text_never_matches() {
        for hash in ["secret", "", "$", "$1$", "$9$a$b", "$5$rounds=999999999$a$b"] {
            assert!(!matches(hash, hash), "{hash}");
        }
    }
}
