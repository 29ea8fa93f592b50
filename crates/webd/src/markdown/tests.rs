//! What becomes of Markdown, and what must never become of it.

use super::*;
use proptest::prelude::*;

fn json(text: &str) -> String {
    serde_json::to_string(&parse(text)).unwrap()
}

#[test]
fn what_people_and_models_write_becomes_elements() {
    for (text, expected) in [
        ("hello", r#"[{"t":"p","c":["hello"]}]"#),
        ("a\nb", r#"[{"t":"p","c":["a",{"t":"br"},"b"]}]"#),
        (
            "**b** *i* `c` ~~d~~",
            r#"[{"t":"p","c":[{"t":"strong","c":["b"]}," ",{"t":"em","c":["i"]}," ",{"t":"code","c":["c"]}," ",{"t":"del","c":["d"]}]}]"#,
        ),
        ("# T", r#"[{"t":"h3","c":["T"]}]"#),
        ("```rust\nlet a = 1;\n```", r#"[{"t":"pre","lang":"rust","c":["let a = 1;\n"]}]"#),
        ("3. x", r#"[{"t":"ol","start":3,"c":[{"t":"li","c":["x"]}]}]"#),
        (
            "|a|\n|-|\n|1|",
            r#"[{"t":"table","c":[{"t":"tr","c":[{"t":"th","c":["a"]}]},{"t":"tr","c":[{"t":"td","c":["1"]}]}]}]"#,
        ),
        ("[x](https://e.org)", r#"[{"t":"p","c":[{"t":"a","href":"https://e.org","c":["x"]}]}]"#),
        (
            "![alt](https://e.org/i.png)",
            r#"[{"t":"p","c":[{"t":"a","href":"https://e.org/i.png","c":["alt"]}]}]"#,
        ),
    ] {
        assert_eq!(json(text), expected, "{text:?}");
    }
}

#[test]
fn a_bare_address_is_a_link_without_the_end_of_its_sentence() {
    let link = |text: &str| {
        fn first(nodes: &[Node]) -> Option<String> {
            nodes.iter().find_map(|node| match node {
                Node::Element(Element { href: Some(href), .. }) => Some(href.clone()),
                Node::Element(element) => first(&element.children),
                Node::Text(_) => None,
            })
        }
        first(&parse(text))
    };
    for (text, expected) in [
        ("see https://e.org/a_b_c?x=1&y=2.", Some("https://e.org/a_b_c?x=1&y=2")),
        ("(https://e.org/w_(x))", Some("https://e.org/w_(x)")),
        ("**https://e.org**", Some("https://e.org")),
        ("https://", None),
        ("https://.", None),
        ("`https://e.org`", None),
        ("é https://e.org/é, ok", Some("https://e.org/é")),
    ] {
        assert_eq!(link(text).as_deref(), expected, "{text:?}");
    }
}

#[test]
fn nothing_an_agent_writes_becomes_markup_or_a_script() {
    for text in [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html;base64,AAAA)",
        "[x](vbscript:a)",
        "<javascript:alert(1)>",
        "![x](javascript:alert(1))",
        "[x](//evil.example)",
        "```\"><script>\nx\n```",
    ] {
        let tree = json(text);
        assert!(!tree.contains("href"), "{text:?} must give no link: {tree}");
        assert!(!tree.contains("lang"), "{text:?} must give no attribute: {tree}");
    }
    assert_eq!(json("<b>x</b>"), r#"[{"t":"p","c":["<b>x</b>"]}]"#, "HTML is text");
}

fn depth(nodes: &[Node]) -> usize {
    let deepest = nodes.iter().map(|node| match node {
        Node::Text(_) => 0,
        Node::Element(element) => 1 + depth(&element.children),
    });
    deepest.max().unwrap_or(0)
}

#[test]
fn depth_has_a_limit_and_the_text_survives_it() {
    let tree = parse(&format!("{} deep\n`and` https://e.org", ">".repeat(5_000)));
    assert_eq!(depth(&tree), DEPTH_MAX);
    assert!(serde_json::to_string(&tree).unwrap().contains("deep"));
}

/// Each would take minutes if its time grew with the square of its length.
#[test]
fn the_longest_message_is_read_in_time_whatever_it_repeats() {
    let most = 262_144;
    for text in [
        format!("https://e.org/{}", ")".repeat(most)),
        "https:// ".repeat(most / 9),
        format!("{}\u{1}", "https://".repeat(most / 8)),
        format!("{}a{}", ">".repeat(most / 2), "\na".repeat(most / 4)),
        format!("{}a{}", "- ".repeat(most / 4), "\r>".repeat(most / 4)),
        // What is deep and short, or long and flat, is read as it was meant.
        format!("{}a", "> ".repeat(most / 2)),
        ">a\n".repeat(most / 3),
    ] {
        let tree = parse(&text);
        assert!(depth(&tree) <= DEPTH_MAX && !tree.is_empty());
    }
}

const KNOWN: &[&str] = &[
    "p",
    "h3",
    "h4",
    "h5",
    "blockquote",
    "pre",
    "ul",
    "ol",
    "li",
    "table",
    "tr",
    "th",
    "td",
    "em",
    "strong",
    "del",
    "a",
    "code",
    "br",
    "hr",
];

fn all_known(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| match node {
        Node::Text(_) => true,
        Node::Element(e) => {
            let links = e.href.as_deref().is_none_or(safe);
            KNOWN.contains(&e.name) && links && all_known(&e.children)
        }
    })
}

/// The tags of the page's HTML with the names of their attributes; text is escaped, so that each
/// `<` begins one.
fn tags(html: &str) -> Vec<(String, Vec<String>)> {
    let tag = |tag: &str| {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.trim_start_matches('/').split(' ').next().unwrap().to_owned();
        // A quote in a value is escaped, so that names and values take turns.
        let named = |part: &str| part.strip_suffix('=')?.rsplit(' ').next().map(str::to_owned);
        (name, tag.split('"').step_by(2).filter_map(named).collect())
    };
    html.split('<').skip(1).map(tag).collect()
}

proptest! {
    #[test]
    fn whatever_is_written_the_page_has_no_script_no_handler_and_no_such_link(
        text in "([a-z<>\\[\\]()!*_`~#|:/.=\"' \n-]|https://|\\]\\(javascript:|<script>| onclick=|```|é){0,80}"
    ) {
        let html = crate::rich::rich(&parse(&text)).into_string();
        for (name, attributes) in tags(&html) {
            let around = ["figure", "figcaption", "span", "div"];
            prop_assert!(KNOWN.contains(&&*name) || around.contains(&&*name), "<{}> in {}", name, html);
            for attribute in attributes {
                let known = ["href", "class", "rel", "target", "tabindex", "start"];
                prop_assert!(known.contains(&&*attribute), "{} in {}", attribute, html);
            }
        }
        let hrefs: Vec<&str> = html.split("href=\"").skip(1).collect();
        let safe = |href: &&str| ["http:", "https:", "mailto:"].iter().any(|s| href.starts_with(s));
        prop_assert!(hrefs.iter().all(|href| safe(&&*href.to_ascii_lowercase())), "{}", html);
    }

    #[test]
    fn whatever_is_written_the_tree_has_known_elements_and_safe_links(
        text in "([a-z<>\\[\\]()!*_`~#|:/.\n -]|https://|javascript:|```|é){0,120}"
    ) {
        let tree = parse(&text);
        prop_assert!(all_known(&tree), "{:?}", tree);
        prop_assert!(depth(&tree) <= DEPTH_MAX);
    }
}
