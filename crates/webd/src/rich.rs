//! A parsed message to HTML. Pure.

use super::markdown::{Element, Node};
use maud::{Markup, PreEscaped, html};

/// A parsed message as HTML. The page's script makes the same elements.
pub fn rich(nodes: &[Node]) -> Markup {
    html! {
        @for node in nodes {
            @match node {
                Node::Text(text) => (text),
                Node::Element(e) => (element(e)),
            }
        }
    }
}

fn element(e: &Element) -> Markup {
    let inner = rich(&e.children);
    match e.name {
        "a" => html! {
            a href=(e.href.as_deref().unwrap_or_default()) target="_blank"
                rel="noopener noreferrer nofollow" { (inner) }
        },
        "pre" => html! {
            figure .code {
                figcaption { span { (e.lang.as_deref().unwrap_or("text")) } }
                pre tabindex="0" { code { (inner) } }
            }
        },
        "ol" => html! { ol start=[e.start] { (inner) } },
        "table" => html! { div .table { table { (inner) } } },
        "br" => html! { br; },
        "hr" => html! { hr; },
        // A name of the fixed set of `markdown`, never text of a message.
        name => PreEscaped(format!("<{name}>{}</{name}>", inner.into_string())),
    }
}
