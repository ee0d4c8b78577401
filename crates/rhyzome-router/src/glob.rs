//! Shell patterns as ACLs use them: `fnmatch(3)` with FNM_NOESCAPE, where `*` also crosses slashes.

/// Whether `text` matches `pattern` (`*`, `?`, `[a-z]`, `[!a-z]`).
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to resume when a guess at what the last `*` covers was too short.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
        } else if let Some(next) = one(pattern, p, text[t]) {
            p = next;
            t += 1;
        } else if let Some((after, covered)) = star {
            p = after;
            t = covered + 1;
            star = Some((after, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// The position after the pattern's item at `p`, if that item matches `byte`.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => match set(pattern, p) {
            Some((end, negated, items)) => (in_set(items, byte) != negated).then_some(end),
            None => (byte == b'[').then_some(p + 1),
        },
        literal => (literal == byte).then_some(p + 1),
    }
}

/// A bracket expression at `p`: the position after it, whether it is negated, and its inside.
fn set(pattern: &[u8], p: usize) -> Option<(usize, bool, &[u8])> {
    let negated = matches!(pattern.get(p + 1), Some(b'!' | b'^'));
    let start = p + 1 + usize::from(negated);
    // A bracket that comes first is a member, not the end.
    let close = pattern.get(start + 1..)?.iter().position(|&byte| byte == b']')? + start + 1;
    Some((close + 1, negated, &pattern[start..close]))
}

fn in_set(items: &[u8], byte: u8) -> bool {
    let mut i = 0;
    while i < items.len() {
        if i + 2 < items.len() && items[i + 1] == b'-' {
            if (items[i]..=items[i + 2]).contains(&byte) {
                return true;
            }
            i += 3;
        } else {
            if items[i] == byte {
                return true;
            }
            i += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("/tmp/*", "/tmp/a/b", true),
            ("/tmp/*", "/etc/a", false),
            ("network.interface.*", "network.interface.lan", true),
            ("network.interface.*", "network.interface", false),
            ("a*b*c", "a--b-b--c", true),
            ("a*b*c", "a--b-b--", false),
            ("get[A-C]?", "getBx", true),
            ("get[!A-C]?", "getBx", false),
            ("[", "[", true),
            ("/bin/echo hello", "/bin/echo bye", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }
}
