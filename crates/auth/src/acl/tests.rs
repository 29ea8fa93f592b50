//! The ACL by table, and the two properties that keep it honest.

use proptest::prelude::*;
use proto::Folder;

use super::{Acl, Because, Membership, OWN_FOLDER_ACTIONS, Rule};
use crate::principal::Principal;

fn rule(text: &str) -> Rule {
    let words: Vec<&str> = text.split(' ').collect();
    let [principal, action, scope, effect] = words.as_slice() else { panic!("{text}") };
    Rule::parse(principal, action, scope, effect).unwrap()
}

fn member(child: &str, parent: &str) -> Membership {
    Membership { child: child.parse().unwrap(), parent: parent.parse().unwrap() }
}

fn at(folder: &str) -> Folder {
    folder.parse().unwrap()
}

fn who(text: &str) -> Principal {
    text.parse().unwrap()
}

#[test]
fn a_folder_may_use_itself_and_nothing_else() {
    let acl = Acl::default();
    let eng = who("folder:acme/eng");
    for action in OWN_FOLDER_ACTIONS {
        assert_eq!(acl.decide(&eng, action, &at("acme/eng")).because, Because::OwnFolder);
        for other in ["acme", "acme/eng/web", "acme/ops", "acme/en"] {
            assert!(!acl.decide(&eng, action, &at(other)).allowed, "{action} on {other}");
        }
        assert!(!acl.decide(&who("user:acme/eng"), action, &at("acme/eng")).allowed);
    }
    for action in ["admin", "mcp:add_route", "mcp:delegate", "mcp:register_group"] {
        assert_eq!(acl.decide(&eng, action, &at("acme/eng")).because, Because::NoRule);
    }
}

#[test]
fn a_row_counts_for_its_principal_action_and_folders() {
    let acl = Acl::new([rule("user:7 mcp:send acme/* allow")], []);
    let cases = [
        ("user:7", "mcp:send", "acme/eng", true),
        ("user:7", "mcp:send", "acme/eng/web", false),
        ("user:7", "mcp:send", "acme", false),
        ("user:7", "mcp:sen", "acme/eng", false),
        ("user:7", "mcp:send_file", "acme/eng", false),
        ("user:77", "mcp:send", "acme/eng", false),
    ];
    for (principal, action, folder, expected) in cases {
        let decision = acl.decide(&who(principal), action, &at(folder));
        assert_eq!(decision.allowed, expected, "{principal} {action} {folder}: {decision}");
    }
}

#[test]
fn a_family_of_actions_ends_at_its_colon() {
    let acl = Acl::new([rule("user:7 mcp:* ** allow"), rule("user:8 * acme allow")], []);
    assert!(acl.decide(&who("user:7"), "mcp:delegate", &at("a/b")).allowed);
    assert!(!acl.decide(&who("user:7"), "mcpx:delegate", &at("a/b")).allowed);
    assert!(!acl.decide(&who("user:7"), "admin", &at("a/b")).allowed);
    assert!(acl.decide(&who("user:8"), "admin", &at("acme")).allowed);
    assert!(!acl.decide(&who("user:8"), "admin", &at("acme/eng")).allowed);
}

#[test]
fn a_deny_wins_over_rows_roles_and_defaults() {
    let eng = who("folder:acme/eng");
    let acl = Acl::new([rule("folder:acme/eng mcp:send ** deny")], []);
    assert!(!acl.decide(&eng, "mcp:send", &at("acme/eng")).allowed);
    assert!(acl.decide(&eng, "mcp:reply", &at("acme/eng")).allowed);

    let rows = [rule("role:quiet mcp:send ** deny"), rule("folder:acme/eng mcp:* ** allow")];
    let acl = Acl::new(rows, [member("folder:acme/eng", "role:quiet")]);
    let decision = acl.decide(&eng, "mcp:send", &at("acme/eng"));
    assert_eq!(decision.to_string(), "denied: the row `deny role:quiet mcp:send on **` says so");

    let acl =
        Acl::new([rule("role:operator admin acme deny")], [member("user:1", "role:operator")]);
    assert!(!acl.decide(&who("user:1"), "admin", &at("acme")).allowed);
    assert!(acl.decide(&who("user:1"), "admin", &at("other")).allowed);
}

#[test]
fn a_hold_keeps_back_what_is_allowed_and_gives_nothing() {
    let eng = who("folder:acme/eng");
    let acl = Acl::new(
        [
            rule("role:asked mcp:* ** hold"),
            rule("folder:acme/eng mcp:delegate acme/ops allow"),
            rule("folder:acme/eng mcp:react ** deny"),
        ],
        [member("folder:acme/eng", "role:asked")],
    );
    let decide = |action, folder| acl.decide(&eng, action, &at(folder));
    let held = decide("mcp:send", "acme/eng");
    assert!(held.is_held() && !held.allowed, "a right of its own: {held}");
    assert_eq!(held.to_string(), "held: the row `hold role:asked mcp:* on **` says so");
    assert!(decide("mcp:delegate", "acme/ops").is_held(), "a right by a row");
    assert!(acl.decide_approved(&eng, "mcp:delegate", &at("acme/ops")).allowed);
    for (action, folder) in [("mcp:delegate", "acme/web"), ("mcp:react", "acme/eng")] {
        let decision = decide(action, folder);
        assert!(!decision.allowed && !decision.is_held(), "{action} {folder}: {decision}");
        assert!(!acl.decide_approved(&eng, action, &at(folder)).allowed, "{action} {folder}");
    }
    assert!(acl.may_somewhere(&eng, "mcp:send"), "what is held is of use all the same");
    assert!(!acl.holds(&eng, "mcp:delegate", &"acme/ops".parse().unwrap()).allowed);
}

#[test]
fn who_decides_on_what_is_held() {
    let acl = Acl::new(
        [
            rule("user:lead admin acme/** allow"),
            rule("person:telegram:user/42 approve acme/eng allow"),
            rule("user:junior admin acme/** allow"),
            rule("user:junior approve ** deny"),
            rule("folder:acme/eng mcp:* ** allow"),
        ],
        [member("user:deputy", "user:lead")],
    );
    for (principal, folder, expected) in [
        ("user:lead", "acme/eng", true),
        ("user:deputy", "acme/eng", true),
        ("user:lead", "acme", false),
        ("person:telegram:user/42", "acme/eng", true),
        ("person:telegram:user/42", "acme/ops", false),
        ("person:telegram:user/4", "acme/eng", false),
        ("user:junior", "acme/eng", false),
        ("folder:acme/eng", "acme/eng", false),
        ("operator:local", "acme/eng", true),
    ] {
        let decision = acl.may_approve(&who(principal), &at(folder));
        assert_eq!(decision.allowed, expected, "{principal} {folder}: {decision}");
    }
}

#[test]
fn operators_may_everything() {
    let acl = Acl::new([], [member("user:1", "role:lead"), member("role:lead", "role:operator")]);
    for principal in ["user:1", "role:operator", "operator:local"] {
        let decision = acl.decide(&who(principal), "admin", &at("acme"));
        assert_eq!(decision.because, Because::Operator, "{principal}");
    }
    assert!(!acl.decide(&who("user:2"), "admin", &at("acme")).allowed);
    assert!(!acl.decide(&who("service:routd"), "admin", &at("acme")).allowed);
}

#[test]
fn circles_end_and_long_chains_are_refused() {
    let circle =
        [member("user:1", "role:a"), member("role:a", "role:b"), member("role:b", "role:a")];
    let acl = Acl::new([rule("role:b admin ** allow")], circle);
    assert!(acl.decide(&who("user:1"), "admin", &at("acme")).allowed);
    assert_eq!(acl.decide(&who("role:c"), "admin", &at("acme")).because, Because::NoRule);

    let chain = |links: usize| {
        let links = (0..links).map(|n| member(&format!("role:r{n}"), &format!("role:r{}", n + 1)));
        Acl::new([rule("role:r0 admin ** allow")], links)
    };
    assert!(chain(16).decide(&who("role:r0"), "admin", &at("acme")).allowed);
    let decision = chain(17).decide(&who("role:r0"), "admin", &at("acme"));
    assert_eq!((decision.allowed, decision.because), (false, Because::TooDeep));
}

#[test]
fn what_is_no_row_and_what_is_no_question() {
    let rows = [
        ("nobody", "admin", "**", "allow"),
        ("folder:*", "admin", "**", "allow"),
        ("user:1", "", "**", "allow"),
        ("user:1", "mcp:", "**", "allow"),
        ("user:1", "mcp:s*", "**", "allow"),
        ("user:1", "*:send", "**", "allow"),
        ("user:1", "admin", "", "allow"),
        ("user:1", "admin", "**", "Allow"),
        ("user:1", "admin", "**", ""),
    ];
    for (principal, action, scope, effect) in rows {
        let row = Rule::parse(principal, action, scope, effect);
        assert!(row.is_err(), "{principal} {action} {scope} {effect}");
    }
    let acl = Acl::new([rule("user:1 * ** allow")], []);
    for action in ["*", "mcp:*", "", "Admin", "mcp:a:b"] {
        let decision = acl.decide(&who("user:1"), action, &at("acme"));
        assert_eq!((decision.allowed, decision.because), (false, Because::NoQuestion));
    }
}

fn principals() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "user:1",
        "role:a",
        "role:b",
        "role:operator",
        "folder:x",
        "folder:x/y",
    ])
    .prop_map(str::to_owned)
}

fn rules(effects: &'static [&'static str]) -> impl Strategy<Value = Rule> {
    let actions = prop::sample::select(vec!["mcp:send", "mcp:reply", "admin", "mcp:*", "*"]);
    let scopes = prop::sample::select(vec!["x", "x/*", "x/**", "*", "**"]);
    let effects = prop::sample::select(effects);
    (principals(), actions, scopes, effects)
        .prop_map(|(p, a, s, e)| Rule::parse(&p, a, s, e).unwrap())
}

fn memberships() -> impl Strategy<Value = Vec<Membership>> {
    let one = (principals(), principals()).prop_map(|(child, parent)| member(&child, &parent));
    prop::collection::vec(one, 0..6)
}

fn questions() -> Vec<(Principal, &'static str, &'static str)> {
    let mut all = Vec::new();
    for principal in ["user:1", "user:2", "folder:x", "folder:x/y", "role:a", "operator:local"] {
        for action in ["mcp:send", "mcp:reply", "admin"] {
            for folder in ["x", "x/y", "x/y/z"] {
                all.push((who(principal), action, folder));
            }
        }
    }
    all
}

proptest! {
    #[test]
    fn another_deny_or_hold_never_allows_more(
        rows in prop::collection::vec(rules(&["allow", "hold", "deny"]), 0..8),
        deny in rules(&["hold", "deny"]),
        members in memberships(),
    ) {
        let before = Acl::new(rows.clone(), members.clone());
        let after = Acl::new(rows.into_iter().chain([deny]), members);
        for (principal, action, folder) in questions() {
            let was = before.decide(&principal, action, &at(folder)).allowed;
            let is = after.decide(&principal, action, &at(folder)).allowed;
            prop_assert!(was || !is, "{principal} {action} {folder}");
        }
    }

    #[test]
    fn neither_answer_nor_reason_depends_on_order(
        (rows, shuffled) in prop::collection::vec(rules(&["allow", "hold", "deny"]), 0..8)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        (members, mixed) in memberships()
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let one = Acl::new(rows, members);
        let other = Acl::new(shuffled, mixed);
        for (principal, action, folder) in questions() {
            let expected = one.decide(&principal, action, &at(folder));
            prop_assert_eq!(other.decide(&principal, action, &at(folder)), expected);
        }
    }
}

#[test]
fn who_administers_gives_what_they_hold_and_no_more() {
    let acl = Acl::new(
        [
            rule("user:lead admin acme/** allow"),
            rule("user:lead mcp:* acme/** allow"),
            rule("user:lead mcp:delegate acme/ops deny"),
            rule("user:member mcp:* acme/** allow"),
        ],
        [member("user:deputy", "user:lead")],
    );
    let cases = [
        ("user:lead", "folder:acme/eng mcp:send acme/eng allow", true),
        ("user:lead", "folder:acme/eng mcp:send acme/** allow", true),
        ("user:deputy", "folder:acme/eng mcp:send acme/** allow", true),
        ("user:lead", "folder:acme/eng mcp:send acme allow", false),
        ("user:lead", "folder:acme/eng mcp:send ** allow", false),
        ("user:lead", "folder:acme/eng egress acme/eng allow", false),
        ("user:lead", "folder:acme/eng * acme/eng allow", false),
        // A part of it is denied to the one who would give it.
        ("user:lead", "folder:acme/eng mcp:delegate acme/* allow", false),
        ("user:lead", "folder:acme/eng mcp:* acme/** allow", false),
        ("user:lead", "folder:acme/eng mcp:delegate acme/web allow", true),
        ("user:lead", "folder:acme/eng egress acme/eng deny", true),
        ("user:lead", "folder:acme/eng egress ** deny", false),
        ("user:lead", "folder:acme/eng egress acme/eng hold", true),
        ("user:lead", "folder:acme/eng egress ** hold", false),
        ("user:member", "folder:acme/eng mcp:send acme/eng allow", false),
        ("user:nobody", "folder:acme/eng mcp:send acme/eng deny", false),
        ("operator:local", "user:lead * ** allow", true),
    ];
    for (granter, row, expected) in cases {
        let decision = acl.may_grant(&who(granter), &rule(row));
        assert_eq!(decision.allowed, expected, "{granter} gives {row}: {decision}");
    }
    // What was denied to them they cannot free anybody from.
    let denial = rule("user:lead mcp:delegate acme/ops deny");
    assert!(!acl.may_revoke(&who("user:lead"), &denial).allowed);
    assert!(acl.may_revoke(&who("operator:local"), &denial).allowed);
    let hold = rule("folder:acme/eng egress acme/eng hold");
    assert!(!acl.may_revoke(&who("user:lead"), &hold).allowed, "it would be given with that");
    assert!(acl.may_revoke(&who("user:lead"), &rule("user:x mcp:send acme/** allow")).allowed);
}

#[test]
fn what_may_be_of_use_somewhere() {
    let rows = [
        rule("folder:x mcp:delegate x/* allow"),
        rule("folder:x mcp:add_route ** allow"),
        rule("folder:x mcp:add_route ** deny"),
        rule("folder:x mcp:send ** deny"),
    ];
    let acl = Acl::new(rows, []);
    let may = |action| acl.may_somewhere(&who("folder:x"), action);
    assert!(may("mcp:delegate") && may("mcp:reply"));
    assert!(!may("mcp:add_route") && !may("mcp:send") && !may("mcp:register_group"));
}

proptest! {
    #[test]
    fn nobody_ends_up_with_more_than_those_who_gave_it(
        rows in prop::collection::vec(rules(&["allow", "hold", "deny"]), 0..8),
        more in prop::collection::vec((principals(), rules(&["allow", "allow", "hold", "deny"]), any::<bool>()), 1..6),
        members in memberships(),
    ) {
        let mut held = rows;
        for (granter, row, adds) in more {
            let granter = who(&granter);
            let before = Acl::new(held.clone(), members.clone());
            let mut after = held.clone();
            if adds && before.may_grant(&granter, &row).allowed {
                after.push(row.clone());
            } else if !adds && before.may_revoke(&granter, &row).allowed {
                after.retain(|one| *one != row);
            }
            let now = Acl::new(after.clone(), members.clone());
            for (principal, action, folder) in questions() {
                let folder = at(folder);
                let gained = now.decide(&principal, action, &folder).allowed
                    && !before.decide(&principal, action, &folder).allowed;
                let given = before.decide(&granter, action, &folder).allowed;
                prop_assert!(!gained || given, "{granter} gave {principal} {action} on {folder} by {row}");
                // Nor is anybody spared the question whom somebody else could not have spared it.
                let approved = |acl: &Acl| acl.decide_approved(&principal, action, &folder).allowed;
                prop_assert!(!approved(&now) || approved(&before) || given, "{row}");
            }
            held = after;
        }
    }
}
