//! What an agent wrote, to the elements of the page and to its HTML.

use crate::under::{
    markdown::{Node, parse},
    rich::rich,
};

const KNOWN: &[&str] = &[
    "p", "h3", "h4", "h5", "blockquote", "pre", "ul", "ol", "li", "table", "tr", "th", "td", "em", "strong", "del", "a",
    "code", "br", "hr",
];

/// The tags of the page's HTML: the elements, and what is put around them.
const WRITTEN: &[&str] = &["figure", "figcaption", "span", "div"];

pub fn check(data: &[u8]) {
    let tree = parse(&crate::text(data));
    known(&tree, 0);
    serde_json::to_string(&tree).expect("the tree is JSON");
    let html = rich(&tree).into_string();
    for tag in html.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.trim_start_matches('/').split(' ').next().unwrap_or_default();
        assert!(KNOWN.contains(&name) || WRITTEN.contains(&name), "<{tag}> in {html}");
        attributes(tag);
    }
}

/// That a tag has the attributes of this page, and no event handler or script among them.
fn attributes(tag: &str) {
    let mut rest = tag;
    while let Some((before, after)) = rest.split_once("=\"") {
        let name = before.rsplit(' ').next().unwrap_or_default();
        let (value, after) = after.split_once('"').expect("a value ends");
        match name {
            "href" => {
                let value = value.to_ascii_lowercase();
                let safe = ["http:", "https:", "mailto:"].iter().any(|scheme| value.starts_with(scheme));
                assert!(safe, "{tag}");
            }
            "class" | "rel" | "target" | "tabindex" | "start" => {}
            _ => panic!("the attribute {name} in <{tag}>"),
        }
        rest = after;
    }
    assert!(!rest.contains('='), "{tag}");
}

fn known(nodes: &[Node], depth: usize) {
    assert!(depth <= 24, "deeper than a browser likes");
    for node in nodes {
        let Node::Element(element) = node else { continue };
        assert!(KNOWN.contains(&element.name), "{}", element.name);
        if let Some(lang) = &element.lang {
            assert!(lang.chars().all(|c| c.is_ascii_alphanumeric() || "+#._-".contains(c)), "{lang}");
        }
        known(&element.children, depth + 1);
    }
}
