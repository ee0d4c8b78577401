//! What is done to an input: bits flipped, pieces lost, doubled, moved in from elsewhere, numbers at their limits.

use crate::Random;

/// Bytes that mean something to parsers of text.
const TELLING: &[u8] = b"\0\n\r\t \"'\\#;:,{}[]()=/.-+\x7f\x80\xc3\xff019azAZ";
/// Pieces of at most this many bytes are lost, doubled and moved.
const PIECE: usize = 64;

/// Changes `input` in one way; `other` is another input to take pieces from.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(8) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.byte();
            }
        }
        2 => input.insert(at, TELLING[random.below(TELLING.len())]),
        3 => {
            input.drain(piece(input.len(), at, random));
        }
        4 => {
            let doubled = input[piece(input.len(), at, random)].to_vec();
            input.splice(at..at, doubled);
        }
        5 => {
            let from = random.below(other.len() + 1);
            let taken = other[piece(other.len(), from, random)].to_vec();
            input.splice(at..at, taken);
        }
        6 => input.truncate(at),
        _ => write_limit(input, at, random),
    }
}

fn piece(length: usize, at: usize, random: &mut Random) -> std::ops::Range<usize> {
    at..length.min(at + random.below(PIECE))
}

/// Overwrites with a number at a limit of its width, in either order of bytes.
fn write_limit(input: &mut [u8], at: usize, random: &mut Random) {
    let number = [0_u64, 1, u64::MAX, u64::MAX >> 1, 1 << 63, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff][random.below(9)];
    let width = [1, 2, 4, 8][random.below(4)];
    let bytes = number.to_be_bytes();
    let mut bytes = bytes[8 - width..].to_vec();
    if random.below(2) == 0 {
        bytes.reverse();
    }
    for (place, byte) in input.iter_mut().skip(at).zip(bytes) {
        *place = byte;
    }
}
