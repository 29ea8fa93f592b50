//! What is cut, where, and that nothing is lost by it.

use super::*;
use crate::rich::{parse, plain, verbatim};
use proptest::prelude::*;

fn units(blocks: &[Block]) -> usize {
    plain(blocks).encode_utf16().count()
}

fn cut_text(text: &str, limit: usize) -> Vec<String> {
    split(&parse(text), limit, units).iter().map(|piece| plain(piece)).collect()
}

#[test]
fn what_fits_is_one_piece_and_what_does_not_is_cut_between_blocks() {
    assert_eq!(cut_text("one\n\ntwo", 40), ["one\n\ntwo"]);
    assert_eq!(cut_text("", 40), [""; 0]);
    let (first, second) = ("a".repeat(30), "b".repeat(30));
    assert_eq!(cut_text(&format!("{first}\n\n{second}"), 40), [first, second]);
}

#[test]
fn a_long_text_is_cut_at_lines_sentences_and_words() {
    assert_eq!(
        cut_text("The first line of it.\nThe second one.", 30),
        ["The first line of it.", "The second one."]
    );
    assert_eq!(
        cut_text("A sentence of some length. And another one.", 35),
        ["A sentence of some length.", "And another one."]
    );
    assert_eq!(cut_text("one two three four", 10), ["one two", "three four"]);
    assert_eq!(cut_text(&"x".repeat(25), 10), ["x".repeat(10), "x".repeat(10), "x".repeat(5)]);
}

#[test]
fn a_code_block_is_cut_between_lines_and_opened_again() {
    let code = (0..10).map(|n| format!("line {n}")).collect::<Vec<_>>();
    let blocks = parse(&format!("before\n```rust\n{}\n```\nafter", code.join("\n")));
    let pieces = split(&blocks, 30, units);
    let mut lines = Vec::new();
    for block in pieces.iter().flatten() {
        if let Kind::Code { lang, text } = &block.kind {
            assert_eq!(lang.as_deref(), Some("rust"));
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    assert_eq!(lines, code);
    assert!(pieces.len() > 2, "{pieces:?}");
}

#[test]
fn styles_go_on_behind_a_cut_and_an_entry_keeps_its_depth() {
    let pieces = split(&parse("**one two three four**"), 10, units);
    let bold = |block: &Block| block.spans().unwrap().iter().all(|span| span.style.bold);
    assert!(pieces.len() == 2 && pieces.iter().flatten().all(bold), "{pieces:?}");
    let pieces = split(&parse("- one two three four"), 14, units);
    assert_eq!(pieces.iter().map(|p| plain(p)).collect::<Vec<_>>(), ["• one two", "  three four"]);
}

#[test]
fn a_link_whose_address_does_not_fit_is_text() {
    let address = format!("https://x.example/{}", "y".repeat(100));
    let counts_addresses = |blocks: &[Block]| {
        let spans = blocks.iter().filter_map(Block::spans).flatten();
        units(blocks) + spans.filter_map(|s| s.style.link.as_ref()).map(|l| l.len()).sum::<usize>()
    };
    let pieces = split(&parse(&format!("see [this]({address}) now")), 50, counts_addresses);
    assert_eq!(pieces.iter().map(|p| plain(p)).collect::<Vec<_>>(), ["see", "this now"]);
}

#[test]
fn a_grapheme_stays_whole() {
    // A family is one grapheme of eleven units, a flag one of four.
    let (family, flag) = ("👩‍👩‍👧‍👦", "🇬🇧");
    for piece in cut_text(&family.repeat(10), 25).iter().chain(&cut_text(&flag.repeat(10), 10)) {
        for grapheme in piece.graphemes(true) {
            assert!([family, flag].contains(&grapheme), "{grapheme:?} of {piece:?}");
        }
    }
}

#[test]
fn a_grapheme_that_does_not_fit_behind_what_is_there_begins_the_next_piece() {
    let text = "```sh\nls -l\n\nexit\n```\n\n👩‍👩‍👧‍👦[l](https://x.example/)";
    let pieces = cut_text(text, 19);
    assert!(pieces.iter().any(|piece| piece.contains("👩‍👩‍👧‍👦")), "{pieces:?}");
}

fn graphemes(text: &str) -> Vec<String> {
    let whole = text.graphemes(true).filter(|one| !one.chars().all(char::is_whitespace));
    whole.map(str::to_owned).collect()
}

#[test]
fn a_space_that_carries_a_mark_is_kept() {
    let text = format!("{} \u{301}{}", "a".repeat(20), "b".repeat(20));
    for limit in 20..24 {
        let pieces = split(&verbatim(&text), limit, units);
        assert_eq!(pieces.iter().map(|piece| plain(piece)).collect::<String>(), text, "{limit}");
    }
}

fn markdown() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z]{1,12}",
        "[ \n]{1,2}",
        Just("👩‍👩‍👧‍👦".to_owned()),
        Just("e\u{301}".to_owned()),
        Just("**b**".to_owned()),
        Just("`c d`".to_owned()),
        Just("\n\n- ".to_owned()),
        Just("\n\n> ".to_owned()),
        Just("\n\n```sh\nls -l\n\nexit\n```\n\n".to_owned()),
        Just("[l](https://x.example/)".to_owned()),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_piece_fits_and_nothing_is_lost(text in markdown(), limit in 16_usize..200) {
        let blocks = parse(&text);
        let pieces = split(&blocks, limit, units);
        for piece in &pieces {
            prop_assert!(!piece.is_empty());
            prop_assert!(units(piece) <= limit, "{} > {limit}: {piece:?}", units(piece));
        }
        // Leads are made anew and a link's address follows its text, so the texts themselves are compared.
        let words = |blocks: &[Block]| blocks.iter().map(body).collect::<Vec<_>>().join("\n");
        let cut: Vec<String> = pieces.iter().map(|piece| words(piece)).collect();
        let with_lead_lost = |text: &str| graphemes(text).into_iter().filter(|g| g != "•").collect::<Vec<_>>();
        prop_assert_eq!(with_lead_lost(&cut.join("\n")), with_lead_lost(&words(&blocks)));
    }

    #[test]
    fn text_of_any_kind_is_cut_at_graphemes(text in "\\PC{0,300}", limit in 40_usize..120) {
        let blocks = verbatim(&text);
        let longest = text.graphemes(true).map(|g| g.encode_utf16().count()).max().unwrap_or(0);
        prop_assume!(longest <= limit);
        let pieces = split(&blocks, limit, units);
        prop_assert!(pieces.iter().all(|piece| units(piece) <= limit));
        let cut: Vec<String> = pieces.iter().map(|piece| plain(piece)).collect();
        prop_assert_eq!(cut.iter().flat_map(|p| graphemes(p)).collect::<Vec<_>>(), graphemes(&text));
    }
}
