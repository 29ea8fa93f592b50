//! The frame of every page. Pure.

use crate::assets::AssetPaths;
use maud::{DOCTYPE, Markup, html};

/// Where one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Here {
    Overview,
    Secrets,
    Services,
    Conversations,
    Runs,
    Approvals,
    Schedules,
    Folders,
    Routes,
    Access,
    Links,
    Newcomers,
    Usage,
    Audit,
    /// On none of them.
    Nowhere,
}

/// A page of the menu, its name and its address.
type Item = (Here, &'static str, &'static str);

/// The pages, as the menu has them.
const MENU: &[(&str, &[Item])] = &[
    (
        "State",
        &[
            (Here::Overview, "Overview", "/dash/"),
            (Here::Secrets, "Secrets", "/dash/secrets"),
            (Here::Services, "Services", "/dash/services"),
        ],
    ),
    (
        "Work",
        &[
            (Here::Conversations, "Conversations", "/dash/chats"),
            (Here::Runs, "Runs", "/dash/runs"),
            (Here::Approvals, "Approvals", "/dash/approvals"),
            (Here::Schedules, "Schedules", "/dash/schedules"),
        ],
    ),
    (
        "Setup",
        &[
            (Here::Folders, "Folders", "/dash/folders"),
            (Here::Routes, "Routes", "/dash/routes"),
            (Here::Access, "Access", "/dash/access"),
            (Here::Links, "Links", "/dash/links"),
        ],
    ),
    ("People", &[(Here::Newcomers, "Newcomers", "/dash/newcomers")]),
    ("Record", &[(Here::Usage, "Usage", "/dash/usage"), (Here::Audit, "Audit", "/dash/audit")]),
];

/// What is around a page.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) instance: &'a str,
    /// Who is logged in; nobody's page has no menu.
    pub(crate) subject: Option<&'a str>,
    /// Others have no pages of the whole instance.
    pub(crate) is_operator: bool,
    pub(crate) here: Here,
    pub(crate) title: &'a str,
    /// Names the scripts that may run.
    pub(crate) nonce: &'a str,
    /// What was done just now.
    pub(crate) done: Option<&'a str>,
    pub(crate) assets: &'a AssetPaths,
}

impl Frame<'_> {
    /// The whole page.
    pub(crate) fn around(&self, body: &Markup) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    meta name="htmx-config" content=r#"{"includeIndicatorCSS":false,"history":false}"#;
                    title { (self.title) " · " (self.instance) }
                    link rel="icon" type="image/svg+xml" href=(self.assets.icon);
                    link rel="stylesheet" href=(self.assets.style);
                    script defer nonce=(self.nonce) src=(self.assets.script) {}
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    (self.top())
                    main #main tabindex="-1" {
                        h1 { (self.title) }
                        @if let Some(done) = self.done { p.done role="status" { (done) } }
                        (body)
                    }
                    footer { "Times are in UTC." }
                }
            }
        };
        page.into_string()
    }

    /// Whether somebody like this has that page.
    fn has(&self, page: Here) -> bool {
        let whole = [Here::Secrets, Here::Services, Here::Runs, Here::Newcomers, Here::Audit];
        self.is_operator || !whole.contains(&page)
    }

    fn top(&self) -> Markup {
        html! {
            header {
                p.brand { a href="/dash/" { "arizuko " span { (self.instance) } } }
                @if let Some(subject) = self.subject {
                    // Open at first, so that it is there without a script; narrow screens fold it by style alone.
                    input #menu-switch .unseen type="checkbox" aria-label="Show the menu";
                    label.menu-button for="menu-switch" aria-hidden="true" { "Menu" }
                    nav aria-label="Dashboard" {
                        @for (group, items) in MENU.iter().filter(|(_, items)| items.iter().any(|item| self.has(item.0))) {
                            div.group {
                                p { (group) }
                                ul {
                                    @for (here, name, href) in items.iter().filter(|item| self.has(item.0)) {
                                        li {
                                            a href=(href) aria-current=[(*here == self.here).then_some("page")] {
                                                (name)
                                            }
                                        }
                                    }
                                }
                            }
                        }
                        p.who { a href="/auth/" { (subject) } }
                    }
                }
            }
        }
    }
}
