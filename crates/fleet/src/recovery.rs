//! The recovery phrase: 24 words (BIP-39) that are a key.

use bip39::{Language, Mnemonic};
use types::ParseError;
use zeroize::{Zeroize, Zeroizing};

use crate::Random;
use crate::hash::hash;
use crate::key::NodeSecret;

/// How many words there are.
pub const WORDS: usize = 24;

/// The words, and so the key.
pub struct RecoveryPhrase(Mnemonic);

impl RecoveryPhrase {
    /// A fresh one.
    pub fn generate(random: &mut impl Random) -> Self {
        let mut entropy = Zeroizing::new([0; 32]);
        random.fill(&mut *entropy);
        Self(Mnemonic::from_entropy(&*entropy).expect("invariant: 32 bytes are 24 words"))
    }

    /// Reads the words as somebody typed them: in any case, with any spaces between. The error does not repeat them.
    pub fn from_text(text: &str) -> Result<Self, ParseError> {
        let expected = "a recovery phrase (the 24 words that `dusk init` showed)";
        let text = Zeroizing::new(text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
        let phrase = Mnemonic::parse_in_normalized(Language::English, &text).ok();
        let phrase = phrase.filter(|phrase| phrase.word_count() == WORDS);
        phrase.map(Self).ok_or_else(|| ParseError::new("(hidden)", expected))
    }

    /// The words, to be shown once.
    pub fn reveal(&self) -> impl Iterator<Item = &'static str> {
        self.0.words()
    }

    /// Whether this is the word at a place, which is counted from 1.
    pub fn has(&self, place: usize, word: &str) -> bool {
        place.checked_sub(1).and_then(|at| self.0.words().nth(at)) == Some(word.trim().to_lowercase().as_str())
    }

    /// The key that the words are.
    pub fn secret(&self) -> NodeSecret {
        let mut seed = self.0.to_seed_normalized("");
        let secret = NodeSecret::of(*hash("recovery", &[&seed]).bytes());
        seed.zeroize();
        secret
    }
}

impl Drop for RecoveryPhrase {
    fn drop(&mut self) {
        // The library keeps numbers of words; another phrase takes their place.
        self.0 = Mnemonic::from_entropy(&[0; 32]).expect("invariant: 32 bytes are 24 words");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_key() {
        // The second vector of BIP-39 with 24 words.
        let words = format!("{}title", "legal winner thank year wave sausage worth useful ".repeat(3));
        let words = words.replacen("useful title", "title", 1);
        let phrase = RecoveryPhrase::from_text(&words.to_uppercase()).unwrap();
        assert!(
            phrase.has(1, "legal") && phrase.has(24, "title") && !phrase.has(0, "legal") && !phrase.has(25, "title")
        );
        let again = RecoveryPhrase::from_text(&phrase.reveal().collect::<Vec<_>>().join("  ")).unwrap();
        assert_eq!(again.secret().public(), phrase.secret().public());
    }

    #[test]
    fn a_wrong_word_is_found_out_and_not_repeated() {
        let words = "abandon ".repeat(24);
        let Err(error) = RecoveryPhrase::from_text(&words) else { panic!("read") };
        assert!(!error.to_string().contains("abandon"));
        assert!(RecoveryPhrase::from_text(&format!("{}about", "abandon ".repeat(11))).is_err(), "12 words");
        assert!(RecoveryPhrase::from_text(&format!("{}art", "abandon ".repeat(23))).is_ok());
    }
}
