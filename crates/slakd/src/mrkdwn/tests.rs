use super::*;
use proptest::prelude::*;

fn members(name: &str) -> Option<String> {
    (name == "ann").then(|| "U1".to_owned())
}

fn plain(markdown: &str) -> String {
    render(markdown, members)
}

#[test]
fn markdown_becomes_what_slack_shows_alike() {
    for (markdown, expected) in [
        ("hello", "hello"),
        ("**bold** and *slanted* and ~~gone~~", "*bold* and _slanted_ and ~gone~"),
        ("***both***", "_*both*_"),
        ("a**b**c", "a\u{200B}*b*\u{200B}c"),
        ("`x < y`", "`x &lt; y`"),
        ("`` a`b ``", "```a`b```"),
        ("# Title\ntext", "*Title*\n\ntext"),
        ("# A **bold** title", "*A bold title*"),
        ("one\ntwo\n\nthree", "one\ntwo\n\nthree"),
        ("**one\ntwo**", "*one*\n*two*"),
        ("- a\n- b\n  - c\n\nafter", "• a\n• b\n    • c\n\nafter"),
        ("3. a\n4. b", "3. a\n4. b"),
        ("- [x] done\n- [ ] open", "• ☑ done\n• ☐ open"),
        ("> one\n> two\n\nafter", "> one\n> two\n\nafter"),
        ("> one\n>\n> two", "> one\n>\n> two"),
        ("[the page](https://a.example/?x=1&y=2)", "<https://a.example/?x=1&amp;y=2|the page>"),
        ("<https://a.example>", "<https://a.example>"),
        ("<a@b.example>", "<mailto:a@b.example>"),
        ("[x](javascript:alert)", "x"),
        ("[x](https://a.example/a|b)", "<https://a.example/a%7Cb|x>"),
        ("![a cat](https://a.example/cat.png)", "<https://a.example/cat.png|a cat>"),
        ("---", "———"),
        ("```rust\nlet x = a < b;\n\ny\n```\nafter", "```\nlet x = a &lt; b;\n\ny\n```\n\nafter"),
        ("<b>raw</b> & 1 < 2", "&lt;b&gt;raw&lt;/b&gt; &amp; 1 &lt; 2"),
        ("| a | bb |\n|---|---|\n| ccc | d |", "```\na    bb\n---  --\nccc  d\n```"),
        ("", ""),
    ] {
        assert_eq!(plain(markdown), expected, "{markdown:?}");
    }
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

/// What the text would say to somebody who reads all references as what they are.
fn calls(mrkdwn: &str) -> Vec<&str> {
    let brackets = mrkdwn.split('<').skip(1).filter_map(|rest| rest.split('>').next());
    brackets.filter(|inside| inside.starts_with(['!', '@', '#'])).collect()
}

proptest! {
    #[test]
    fn no_markdown_calls_anybody_or_makes_it_panic(
        text in "([-*_~`#>|\\[\\]()<>!@&\\\\0-9. \n\t]|channel|here|U1|https://a.example|\\PC){0,80}",
    ) {
        let shown = render(&text, |_| None);
        prop_assert!(calls(&shown).is_empty(), "{}", shown);
        prop_assert_eq!(length(&text), shown.encode_utf16().count());
    }

    #[test]
    fn no_word_of_plain_text_is_lost(words in proptest::collection::vec("[a-z]{1,8}", 1..30)) {
        let text = words.join(" ");
        prop_assert_eq!(plain(&text), text.clone());
        let list: Vec<String> = words.iter().map(|word| format!("- {word}")).collect();
        let shown = plain(&list.join("\n"));
        prop_assert!(words.iter().all(|word| shown.contains(&format!("• {word}"))), "{}", shown);
    }

    #[test]
    fn code_stays_as_it_is(code in "[a-z<&*_~\\[\\]() \n]{1,60}") {
        let shown = plain(&format!("```\n{code}\n```"));
        let inner = shown.strip_prefix("```\n").and_then(|rest| rest.strip_suffix("\n```"));
        let read = inner.unwrap().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        prop_assert_eq!(read, code.trim_end_matches('\n'));
    }

    #[test]
    fn what_is_escaped_has_no_reference(text in "\\PC{0,40}") {
        prop_assert!(!escape(&text).contains(['<', '>']));
    }
}
