//! Which keys a call means: those with a prefix, and those in which a regular expression is found.

use regex::bytes::{Regex, RegexBuilder};

use crate::error::Result;
use crate::store::object::MAX_KEY;
use crate::store::wire::master::Matching;
use crate::{bail, fail};

/// Longest expression, the memory that its program may take, and how deep it may be nested.
const MAX_TEXT: usize = 4096;
const MAX_PROGRAM: usize = 1 << 20;
const MAX_DEPTH: u32 = 50;

/// It takes time in proportion to the keys, whatever the expression.
pub struct Pattern {
    prefix: Vec<u8>,
    regex: Option<Regex>,
}

impl Pattern {
    pub fn new(matching: Option<Matching>) -> Result<Pattern> {
        let Matching { prefix, regex } = matching.unwrap_or_default();
        if prefix.len() > MAX_KEY {
            bail!(InvalidArgument, "a prefix of {} bytes: keys have {MAX_KEY} at most", prefix.len());
        }
        if regex.len() > MAX_TEXT {
            bail!(InvalidArgument, "a regular expression of {} bytes, {MAX_TEXT} are allowed", regex.len());
        }
        let regex = if regex.is_empty() { None } else { Some(compile(&regex)?) };
        Ok(Pattern { prefix, regex })
    }

    pub fn matches(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix) && self.regex.as_ref().is_none_or(|regex| regex.is_match(key))
    }
}

/// Keys are bytes: a dot is any of them, and classes are those of ASCII.
fn compile(text: &str) -> Result<Regex> {
    RegexBuilder::new(text)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(MAX_PROGRAM)
        .dfa_size_limit(MAX_PROGRAM)
        .nest_limit(MAX_DEPTH)
        .build()
        .map_err(|error| fail!(InvalidArgument, "the regular expression is refused: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn pattern(prefix: &str, regex: &str) -> Result<Pattern> {
        Pattern::new(Some(Matching { prefix: prefix.into(), regex: regex.to_owned() }))
    }

    #[test]
    fn prefix_and_expression_must_both_match_and_an_expression_does_anywhere() {
        let both = pattern("a", "b.*[0-9]$").expect("sound");
        assert!(both.matches(b"aab\n\xff7") && !both.matches(b"bab7") && !both.matches(b"ab7x"));
        assert!(Pattern::new(None).expect("all").matches(b"\xff"));
        assert!(pattern("", "\u{e9}").expect("text").matches("caf\u{e9}".as_bytes()));
    }

    #[test]
    fn what_is_wrong_or_would_take_too_much_is_refused_with_a_reason() {
        let nested = "(".repeat(1000) + &")".repeat(1000);
        for text in ["(", "[a", "(?:a{1000}){1000}", &"x".repeat(5000), &nested, "\\p{Greek}"] {
            let error = pattern("", text).err().expect("refused");
            assert_eq!(error.code, Code::InvalidArgument, "{text}");
        }
        assert!(Pattern::new(Some(Matching { prefix: vec![0; 1025], regex: String::new() })).is_err());
        // Linear, where others take for ever.
        assert!(!pattern("", "(a+)+$").expect("small").matches(&[b"a".repeat(900), b"!".to_vec()].concat()));
    }
}
