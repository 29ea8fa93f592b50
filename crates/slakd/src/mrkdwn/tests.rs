use super::*;
use adapter::{rich::parse, split::split};
use proptest::prelude::*;

fn members(name: &str) -> Option<String> {
    (name == "ann").then(|| "U1".to_owned())
}

fn plain(markdown: &str) -> String {
    render(&parse(markdown), members)
}

#[test]
fn markdown_becomes_what_slack_shows_alike() {
    for (markdown, expected) in [
        ("hello", "hello"),
        ("**bold** and *slanted* and ~~gone~~", "*bold* and _slanted_ and ~gone~"),
        ("***both***", "*_both_*"),
        ("a**b**c", "a\u{200B}*b*\u{200B}c"),
        ("`x < y`", "`x &lt; y`"),
        ("`` a`b ``", "```a`b```"),
        ("# Title\n\ntext", "*Title*\n\ntext"),
        ("one\ntwo\n\nthree", "one\ntwo\n\nthree"),
        ("**one\ntwo**", "*one*\n*two*"),
        ("> one\n> two\n\nafter", "> one\n> two\n\nafter"),
        ("[the page](https://a.example/?x=1&y=2)", "<https://a.example/?x=1&amp;y=2|the page>"),
        ("<https://a.example>", "<https://a.example>"),
        ("[x](https://a.example/a|b)", "<https://a.example/a%7Cb|x>"),
        ("```rust\nlet x = a < b;\n\ny\n```", "```\nlet x = a &lt; b;\n\ny\n```"),
        ("<b>raw</b> & 1 < 2", "&lt;b&gt;raw&lt;/b&gt; &amp; 1 &lt; 2"),
        ("", ""),
    ] {
        assert_eq!(plain(markdown), expected, "{markdown:?}");
    }
    assert_eq!(plain("- a\n- b"), "• a\n• b");
    assert!(plain("[x](javascript:alert)").starts_with('x'));
}

#[test]
fn only_a_known_member_is_called_and_never_a_whole_channel() {
    for (markdown, expected) in [
        ("thanks @ann!", "thanks <@U1>!"),
        ("@ann. @bob @", "<@U1>. @bob @"),
        ("mail x@ann", "mail x@ann"),
        ("`@ann`", "`@ann`"),
        ("@channel @here", "@channel @here"),
        ("<!channel> <!here|x> <@U9>", "&lt;!channel&gt; &lt;!here|x&gt; &lt;@U9&gt;"),
    ] {
        assert_eq!(plain(markdown), expected, "{markdown:?}");
    }
}

/// What the text calls, for somebody who reads all references as what they are.
fn calls(mrkdwn: &str) -> Vec<&str> {
    let brackets = mrkdwn.split('<').skip(1).filter_map(|rest| rest.split('>').next());
    brackets.filter(|inside| inside.starts_with(['!', '@', '#'])).collect()
}

proptest! {
    #[test]
    fn no_markdown_calls_anybody_or_makes_it_panic(
        text in "([-*_~`#>|\\[\\]()<>!@&\\\\0-9. \n\t]|channel|here|U1|https://a.example|\\PC){0,80}",
    ) {
        let shown = render(&parse(&text), |_| None);
        prop_assert!(calls(&shown).is_empty(), "{}", shown);
    }

    #[test]
    fn no_word_of_plain_text_is_lost(words in proptest::collection::vec("[a-z]{1,8}", 1..30)) {
        let text = words.join(" ");
        prop_assert_eq!(plain(&text), text.clone());
    }

    #[test]
    fn what_is_longer_than_slack_takes_becomes_pieces_that_it_takes(
        parts in proptest::collection::vec("([a-z<&]{1,12}|[*][*]b[*][*]|\n\n|- |`c`|```\nx\n```\n)", 1..200),
    ) {
        let blocks = parse(&parts.join(" "));
        for piece in split(&blocks, 60, length) {
            prop_assert!(render(&piece, |_| None).encode_utf16().count() <= 60);
        }
    }

    #[test]
    fn what_is_escaped_has_no_reference(text in "\\PC{0,40}") {
        prop_assert!(!escape(&text).contains(['<', '>']));
    }
}
