//! What people write in Slack, as text that an agent can read. Pure.
//!
//! Slack's text has references in angle brackets and escapes `&`, `<` and `>`
//! (<https://docs.slack.dev/messaging/formatting-message-text>). Everything else stays as it was written.

/// Whom or what a text refers to, by id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ref {
    /// A member.
    User(String),
    /// A conversation.
    Channel(String),
}

/// The references of a text whose names are not in it, in order, each once.
pub(crate) fn refs(text: &str) -> Vec<Ref> {
    let mut found = Vec::new();
    for part in parts(text) {
        if let Part::Bracket(inside) = part
            && let Some(one) = reference(inside)
            && !found.contains(&one)
        {
            found.push(one);
        }
    }
    found
}

/// Whether a text refers to the member `user`.
pub(crate) fn mentions(text: &str, user: &str) -> bool {
    let is_user = |part| match part {
        Part::Bracket(inside) => member(inside).is_some_and(|(id, _)| id == user),
        Part::Plain(_) => false,
    };
    parts(text).any(is_user)
}

/// The text as people see it. `name` knows what a reference is called; one that has no name is shown by its id.
pub(crate) fn readable(text: &str, name: impl Fn(&Ref) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        match part {
            Part::Plain(plain) => unescape(plain, &mut out),
            Part::Bracket(inside) => bracket(inside, &name, &mut out),
        }
    }
    out
}

/// The text without a reference to `user` at its beginning: whom a message is said to is no part of what it says.
pub(crate) fn without_address<'a>(text: &'a str, user: &str) -> &'a str {
    let rest = text.trim_start();
    let addressed = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match addressed {
        Some((inside, rest)) if member(inside).is_some_and(|(id, _)| id == user) => {
            rest.trim_start_matches([',', ':']).trim_start()
        }
        _ => text,
    }
}

enum Part<'a> {
    Plain(&'a str),
    /// What stands between `<` and `>`.
    Bracket(&'a str),
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let closed = rest.strip_prefix('<').and_then(|inner| inner.split_once('>'));
        if let Some((inside, after)) = closed.filter(|(inside, _)| is_reference(inside)) {
            rest = after;
            return Some(Part::Bracket(inside));
        }
        // A bracket that is no reference is text; whatever follows it may be one.
        let from = usize::from(rest.starts_with('<'));
        let end =
            rest.get(from..).and_then(|tail| tail.find('<')).map_or(rest.len(), |at| at + from);
        let (plain, after) = rest.split_at(end);
        rest = after;
        Some(Part::Plain(plain))
    })
}

fn is_reference(inside: &str) -> bool {
    !inside.is_empty() && !inside.contains(['<', '\n'])
}

/// The id and the label of a member.
fn member(inside: &str) -> Option<(&str, Option<&str>)> {
    labelled(inside.strip_prefix('@')?)
}

fn labelled(text: &str) -> Option<(&str, Option<&str>)> {
    let (id, label) = text.split_once('|').map_or((text, None), |(id, label)| (id, Some(label)));
    (!id.is_empty()).then_some((id, label.filter(|label| !label.is_empty())))
}

fn reference(inside: &str) -> Option<Ref> {
    match inside.split_at_checked(1)? {
        ("@", rest) => match labelled(rest)? {
            (id, None) => Some(Ref::User(id.to_owned())),
            _ => None,
        },
        ("#", rest) => match labelled(rest)? {
            (id, None) => Some(Ref::Channel(id.to_owned())),
            _ => None,
        },
        _ => None,
    }
}

fn bracket(inside: &str, name: impl Fn(&Ref) -> Option<String>, out: &mut String) {
    let known = |one: Ref, id: &str| name(&one).unwrap_or_else(|| id.to_owned());
    match inside.split_at_checked(1) {
        Some(("@", rest)) => {
            out.push('@');
            match labelled(rest) {
                Some((_, Some(label))) => unescape(label.trim_start_matches('@'), out),
                Some((id, None)) => out.push_str(&known(Ref::User(id.to_owned()), id)),
                None => {}
            }
        }
        Some(("#", rest)) => {
            out.push('#');
            match labelled(rest) {
                Some((_, Some(label))) => unescape(label.trim_start_matches('#'), out),
                Some((id, None)) => out.push_str(&known(Ref::Channel(id.to_owned()), id)),
                None => {}
            }
        }
        Some(("!", rest)) => special(rest, out),
        _ => link(inside, out),
    }
}

/// `<!here>`, `<!subteam^ID|@team>`, `<!date^…|as text>`.
fn special(rest: &str, out: &mut String) {
    let Some((what, label)) = labelled(rest) else { return };
    match label {
        Some(label) => unescape(label, out),
        None => {
            out.push('@');
            unescape(what.split('^').next().unwrap_or_default(), out);
        }
    }
}

fn link(inside: &str, out: &mut String) {
    let Some((address, label)) = labelled(inside) else { return };
    let bare = address.strip_prefix("mailto:").unwrap_or(address);
    match label {
        Some(label) if label != bare && label != address => {
            out.push('[');
            unescape(label, out);
            out.push_str("](");
            unescape(address, out);
            out.push(')');
        }
        _ => unescape(bare, out),
    }
}

fn unescape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let known = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')];
        let hit = known.iter().find_map(|(code, c)| Some((*c, from.strip_prefix(code)?)));
        let (c, after) = hit.unwrap_or(('&', from.get(1..).unwrap_or_default()));
        out.push(c);
        rest = after;
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(one: &Ref) -> Option<String> {
        match one {
            Ref::User(id) if id == "U1" => Some("ann".into()),
            Ref::Channel(id) if id == "C1" => Some("general".into()),
            _ => None,
        }
    }

    #[test]
    fn references_become_what_people_see() {
        for (text, expected) in [
            ("hello <@U1>", "hello @ann"),
            ("<@U2> and <@U3|bob>", "@U2 and @bob"),
            ("see <#C1> and <#C2|random>", "see #general and #random"),
            ("<!here> <!channel|@channel> <!subteam^S1|@ops>", "@here @channel @ops"),
            ("<!date^1392734382^{date}|Feb 18>", "Feb 18"),
            ("<https://a.example/?x=1&amp;y=2>", "https://a.example/?x=1&y=2"),
            ("<https://a.example|the page>", "[the page](https://a.example)"),
            ("<mailto:a@b.example|a@b.example>", "a@b.example"),
            ("1 &lt; 2 &amp;&amp; 3 &gt; 2 &nbsp;", "1 < 2 && 3 > 2 &nbsp;"),
            ("&amp;lt;", "&lt;"),
            ("a < b and <> c", "a < b and <> c"),
            ("", ""),
        ] {
            assert_eq!(readable(text, names), expected, "{text}");
        }
    }

    #[test]
    fn a_mention_of_the_app_is_known_and_taken_off_the_front_alone() {
        assert!(mentions("hey <@UB|bot> you", "UB") && !mentions("&lt;@UB&gt;", "UB"));
        assert_eq!(without_address(" <@UB>: deploy <@UB>", "UB"), "deploy <@UB>");
        assert_eq!(without_address("<@U1> deploy", "UB"), "<@U1> deploy");
        assert_eq!(without_address("ask <@UB>", "UB"), "ask <@UB>");
    }

    #[test]
    fn only_names_that_are_not_in_the_text_are_looked_up_and_each_once() {
        let found = refs("<@U1> <@U1> <@U2|bob> <#C1> <https://x|y> <!here>");
        assert_eq!(found, [Ref::User("U1".into()), Ref::Channel("C1".into())]);
    }

    proptest! {
        #[test]
        fn what_was_escaped_is_read_as_it_was_written(text in "([a-z&;#@!| ]|&amp;|&lt;|[<>]){0,40}") {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            prop_assert_eq!(readable(&escaped, names), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "([<>@#!|^&; \n]|U1|C1|https:|\\PC){0,60}") {
            let _either = (readable(&text, names), refs(&text), mentions(&text, "U1"));
            prop_assert!(text.ends_with(without_address(&text, "U1")));
        }
    }
}
