//! What pages are made of: tables, marks, forms, and the page that asks before something is done. Pure.

use maud::{Markup, Render, html};

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    /// Neither good nor bad, and worth seeing.
    Doubtful,
    Bad,
    Quiet,
}

/// A word with its mark. The word says it all: the colour is for those who see it.
pub(crate) fn mark(mark: Mark, word: impl Render) -> Markup {
    let class = match mark {
        Mark::Good => "mark good",
        Mark::Doubtful => "mark doubtful",
        Mark::Bad => "mark bad",
        Mark::Quiet => "mark",
    };
    html! { span class=(class) { (word) } }
}

/// A table. On a narrow screen each row becomes a card, with the column's name beside each value; the roles keep it a
/// table for those who hear it.
pub(crate) fn table(caption: &str, heads: &[&str], rows: Vec<Vec<Markup>>, empty: &str) -> Markup {
    if rows.is_empty() {
        return html! { p.empty { (empty) } };
    }
    html! {
        table role="table" {
            caption.unseen { (caption) }
            thead role="rowgroup" {
                tr role="row" {
                    @for head in heads { th role="columnheader" scope="col" { (head) } }
                }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (head, cell) in heads.iter().zip(row) {
                            td role="cell" data-head=(head) { div { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// A link to the next page of a list, if there is one, and back to its beginning.
pub(crate) fn pager(next: Option<String>, is_first: bool, first: &str) -> Markup {
    html! {
        @if next.is_some() || !is_first {
            nav.pager aria-label="Pages" {
                @if !is_first { a href=(first) { "Newest" } }
                @if let Some(next) = next { a rel="next" href=(next) { "Older" } }
            }
        }
    }
}

/// The address of a list, with what it is filtered by and where it begins. What is empty is left out.
pub(crate) fn address(path: &str, query: &[(&str, &str)]) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    let mut any = false;
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        pairs.append_pair(name, value);
        any = true;
    }
    if any { format!("{path}?{}", pairs.finish()) } else { path.to_owned() }
}

/// A field of a form with its label.
pub(crate) fn field(id: &str, label: &str, name: &str, value: &str, hint: &str) -> Markup {
    let hint_id = format!("{id}-hint");
    html! {
        div.field {
            label for=(id) { (label) }
            input id=(id) name=(name) value=(value) autocomplete="off" spellcheck="false"
                aria-describedby=[(!hint.is_empty()).then_some(&hint_id)];
            @if !hint.is_empty() { small id=(hint_id) { (hint) } }
        }
    }
}

/// A choice of a form with its label.
pub(crate) fn choice(
    id: &str,
    label: &str,
    name: &str,
    options: &[(&str, &str)],
    chosen: &str,
) -> Markup {
    html! {
        div.field {
            label for=(id) { (label) }
            select id=(id) name=(name) {
                @for (value, text) in options {
                    option value=(value) selected[*value == chosen] { (text) }
                }
            }
        }
    }
}

/// A form that filters a list: it works by its address, so that what it shows can be linked to.
pub(crate) fn filter(path: &str, fields: &Markup) -> Markup {
    html! {
        form.filter method="get" action=(path) role="search" {
            (fields)
            button type="submit" { "Show" }
        }
    }
}

/// Pairs of a name and what it is.
pub(crate) fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (name, what) in facts { div { dt { (name) } dd { (what) } } }
        }
    }
}

/// A figure with its name, and a link to more.
pub(crate) fn tile(name: &str, figure: &str, href: &str, how: Mark) -> Markup {
    let class = match how {
        Mark::Bad => "tile bad",
        Mark::Doubtful => "tile doubtful",
        Mark::Good | Mark::Quiet => "tile",
    };
    html! { a class=(class) href=(href) { strong { (figure) } span { (name) } } }
}

/// An id, an address, a version: as it is, and never broken in the middle of a word unless it must be.
pub(crate) fn code(text: impl Render) -> Markup {
    html! { code { (text) } }
}

/// What is there, or a dash.
pub(crate) fn or_dash(text: Option<&str>) -> Markup {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => html! { (text) },
        None => html! { span.quiet { "–" } },
    }
}

/// A form of one button that changes something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Button<'a> {
    /// Where it goes.
    pub(crate) action: &'a str,
    /// What it says.
    pub(crate) text: &'a str,
    /// What goes along.
    pub(crate) fields: &'a [(&'a str, &'a str)],
    /// The code of this session's forms.
    pub(crate) code: &'a str,
    /// Whether what it does cannot be taken back.
    pub(crate) danger: bool,
}

impl Render for Button<'_> {
    fn render(&self) -> Markup {
        html! {
            form.one method="post" action=(self.action) {
                input type="hidden" name="csrf" value=(self.code);
                @for (name, value) in self.fields {
                    input type="hidden" name=(name) value=(value);
                }
                button type="submit" class=[self.danger.then_some("danger")] { (self.text) }
            }
        }
    }
}

/// Asks before something is done: what will happen, the button that does it, and the way back.
pub(crate) fn confirm(what: &Markup, button: &Button<'_>, back: &str) -> Markup {
    html! {
        div.ask {
            (what)
            div.row { (button) a.button href=(back) { "Leave it as it is" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_what_is_there_encoded() {
        assert_eq!(address("/dash/chats", &[("folder", ""), ("before", "")]), "/dash/chats");
        let found = address("/dash/chats", &[("jid", "a&b=c"), ("folder", "corp/eng")]);
        assert_eq!(found, "/dash/chats?jid=a%26b%3Dc&folder=corp%2Feng");
    }

    #[test]
    fn what_others_wrote_is_text_and_never_markup() {
        let evil = "\"><script>alert(1)</script>";
        let button = Button {
            action: evil,
            text: evil,
            fields: &[("name", evil)],
            code: evil,
            danger: true,
        };
        let all = html! {
            (table(evil, &[evil], vec![vec![html! { (evil) }]], evil))
            (field(evil, evil, evil, evil, evil))
            (choice(evil, evil, evil, &[(evil, evil)], evil))
            (confirm(&html! { (evil) }, &button, evil))
            (tile(evil, evil, evil, Mark::Bad)) (code(evil)) (mark(Mark::Bad, evil))
        };
        assert!(!all.into_string().contains("<script"));
    }
}
