//! The globs of the route table: `*` and `?` stop at `/`, `[a-z]` and `[^a-z]` are one character.

/// A pattern that was checked when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Exactly(char),
    /// Any one character but `/`.
    One,
    /// Any number of characters but `/`.
    Any,
    /// One character of these ranges, or none of them; never `/`.
    Class {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

impl Glob {
    /// Reads a pattern; the error is the end of a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            parts.push(match c {
                '*' if parts.last() == Some(&Part::Any) => {
                    return Err("`**` means nothing here: write one `*` for each segment");
                }
                '*' => Part::Any,
                '?' => Part::One,
                '[' => class(&mut rest)?,
                '\\' => Part::Exactly(rest.next().ok_or("it ends in a lone `\\`")?),
                c => Part::Exactly(c),
            });
        }
        Ok(Self(parts))
    }

    /// The one text that it matches; none where it may match several.
    pub(crate) fn literal(&self) -> Option<String> {
        let letter = |part: &Part| match part {
            Part::Exactly(c) => Some(*c),
            _ => None,
        };
        self.0.iter().map(letter).collect()
    }

    /// Whether the whole of `text` matches. Takes at most their lengths' product of steps.
    pub(crate) fn matches(&self, text: &str) -> bool {
        // Which parts may come next: the positions of a small automaton.
        let mut open = vec![false; self.0.len() + 1];
        mark(&self.0, &mut open, 0);
        for c in text.chars() {
            let mut next = vec![false; self.0.len() + 1];
            for (at, part) in self.0.iter().enumerate() {
                if open.get(at) == Some(&true) && part.takes(c) {
                    mark(&self.0, &mut next, if *part == Part::Any { at } else { at + 1 });
                }
            }
            open = next;
        }
        open.last() == Some(&true)
    }
}

/// Opens `at`, and what follows it where `*` may stand for nothing.
fn mark(parts: &[Part], open: &mut [bool], mut at: usize) {
    loop {
        if let Some(place) = open.get_mut(at) {
            *place = true;
        }
        if parts.get(at) != Some(&Part::Any) {
            return;
        }
        at += 1;
    }
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Exactly(expected) => c == *expected,
            Self::One | Self::Any => c != '/',
            Self::Class { ranges, negated } => {
                let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                c != '/' && inside != *negated
            }
        }
    }
}

/// What follows a `[`, to its `]`.
fn class(rest: &mut std::str::Chars<'_>) -> Result<Part, &'static str> {
    let open = "a `[` is not closed";
    let mut ranges = Vec::new();
    let mut negated = false;
    let mut first = true;
    loop {
        let c = match rest.next().ok_or(open)? {
            '^' if first && !negated => {
                negated = true;
                continue;
            }
            ']' if first => return Err("`[]` is empty"),
            ']' => return Ok(Part::Class { ranges, negated }),
            '\\' => rest.next().ok_or(open)?,
            c => c,
        };
        first = false;
        let mut ahead = rest.clone();
        let high = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) if high != ']' => {
                *rest = ahead;
                high
            }
            _ => c,
        };
        if high < c {
            return Err("a range in `[…]` runs backwards");
        }
        ranges.push((c, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(text)
    }

    #[test]
    fn a_star_stops_at_a_slash() {
        for (pattern, text, expected) in [
            ("slack:*/channel/*", "slack:T1/channel/C9", true),
            ("slack:*/channel/*", "slack:T1/dm/C9", false),
            ("slack:*", "slack:T1/channel/C9", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "abcd", false),
            ("*", "", true),
            ("?", "", false),
            ("?", "/", false),
            ("?", "é", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "/x", false),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_malformed_pattern_says_why() {
        for pattern in ["**", "a**", "[", "[a", "[]", "[z-a]", "x\\"] {
            assert!(Glob::parse(pattern).is_err(), "{pattern}");
        }
    }

    /// The definition, without the automaton.
    fn slowly(parts: &[Part], text: &[char]) -> bool {
        match (parts.split_first(), text.split_first()) {
            (None, first) => first.is_none(),
            (Some((Part::Any, more)), None) => slowly(more, text),
            (Some((Part::Any, more)), Some((c, rest))) => {
                slowly(more, text) || (*c != '/' && slowly(parts, rest))
            }
            (Some(_), None) => false,
            (Some((part, more)), Some((c, rest))) => part.takes(*c) && slowly(more, rest),
        }
    }

    proptest! {
        #[test]
        fn the_automaton_is_the_definition(pattern in "[ab/*?]{0,8}", text in "[ab/]{0,8}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                let chars: Vec<char> = text.chars().collect();
                prop_assert_eq!(glob.matches(&text), slowly(&glob.0, &chars));
            }
        }

        #[test]
        fn an_escaped_text_matches_itself_alone(text in "\\PC{0,12}", other in "\\PC{0,12}") {
            let escaped: String = text.chars().flat_map(|c| ['\\', c]).collect();
            let glob = Glob::parse(&escaped).unwrap();
            prop_assert!(glob.matches(&text));
            prop_assert_eq!(glob.matches(&other), text == other);
        }

        #[test]
        fn no_pattern_makes_it_panic(pattern in "\\PC{0,20}", text in "\\PC{0,20}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                let _either = glob.matches(&text);
            }
        }
    }
}
