//! What Markdown becomes, by example, and that none of it gets lost.

use super::*;
use proptest::prelude::*;

fn lines(markdown: &str) -> Vec<String> {
    parse(markdown).iter().map(|block| format!("{}{}", mark(block), block.text())).collect()
}

fn mark(block: &Block) -> String {
    let kind = match &block.kind {
        Kind::Text(_) => "",
        Kind::Heading(_) => "#",
        Kind::Item { .. } => "-",
        Kind::Code { .. } => "`",
        Kind::Rule => "_",
    };
    let (quoted, apart) = (if block.quoted { ">" } else { "" }, if block.apart { "^" } else { "" });
    format!("{apart}{quoted}{kind}|")
}

#[test]
fn what_is_nested_becomes_a_flat_list() {
    let markdown = "# Plan\nOne\ntwo\n\n- a\n  - b\n  - c\n\n    more\n- d\n\n3. x\n4. y\n\n> q\n>\n> ```rust\n> let a;\n> ```\n\n---\nend";
    assert_eq!(
        lines(markdown),
        [
            "#|Plan",
            "^|One\ntwo",
            "^-|• a",
            "-|  • b",
            "-|  • c",
            "^-|    more",
            "-|• d",
            "^-|3. x",
            "-|4. y",
            "^>|q",
            "^>`|let a;",
            "^_|———",
            "^|end",
        ]
    );
}

#[test]
fn styles_are_kept_and_html_is_text() {
    let blocks = parse("a **b *c*** ~~d~~ `e<` [f](https://x.example/) <b>g</b> [h](javascript:x)");
    let spans = blocks[0].spans().unwrap();
    let styled: Vec<_> = spans.iter().filter(|span| !span.style.is_plain()).collect();
    let named = |text: &str| {
        styled.iter().find(|span| span.text == text).map(|span| span.style.clone()).unwrap()
    };
    assert!(named("b ").bold && !named("b ").italic);
    assert!(named("c").bold && named("c").italic);
    assert!(named("d").strike && named("e<").code);
    assert_eq!(named("f").link.as_deref(), Some("https://x.example/"));
    assert_eq!(styled.len(), 5, "neither HTML nor a script's address is a style: {styled:?}");
    assert_eq!(plain(&blocks), "a b c d e< f (https://x.example/) <b>g</b> h");
}

#[test]
fn a_table_is_text_of_a_fixed_width() {
    let blocks = parse("| a | long |\n|---|---|\n| xyz | 1 |\n");
    assert_eq!(blocks[0].text(), "a    long\n─────────\nxyz  1");
}

#[test]
fn what_would_take_too_long_to_read_is_text() {
    let deep = ">".repeat(9_000) + "x\n";
    let many = deep.repeat(1_000);
    assert_eq!(parse(&many), verbatim(&many));
}

proptest! {
    #[test]
    fn every_word_of_a_paragraph_stays(words in prop::collection::vec("[a-zäß0-9]{1,8}", 1..40)) {
        let text = words.join(" ");
        prop_assert_eq!(plain(&parse(&text)), text);
    }

    #[test]
    fn nothing_is_misread_for_ever(text in ".{0,400}") {
        let _blocks = parse(&text);
    }
}
