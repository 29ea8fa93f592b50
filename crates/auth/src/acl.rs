//! What a principal may do to a folder: rows that allow, rows that deny, and who belongs to what.
//!
//! A deny wins over a hold, and a hold over any allow; what nothing matches is denied; the order of the rows never
//! matters. A hold gives nothing: what is allowed waits for a person's approval where it matches, and where nothing can
//! wait it is denied. Every answer says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use proto::Folder;

use crate::glob::{Glob, GlobError};
use crate::principal::{Principal, PrincipalError};

/// What a folder's agent may do to its own folder without any row. A deny row takes it away.
pub const OWN_FOLDER_ACTIONS: &[&str] = &[
    "mcp:reply",
    "mcp:send",
    "mcp:edit",
    "mcp:delete",
    "mcp:react",
    "mcp:send_file",
    "mcp:fetch_history",
    "mcp:inspect_messages",
    "mcp:find_messages",
    "mcp:inspect_routing",
    "mcp:list_routes",
    "mcp:get_memory",
    "mcp:set_memory",
    // What it can reach is what a secret of the folder or the person is bound to, and nothing else.
    "mcp:http_request",
    "mcp:schedule_task",
    "mcp:list_tasks",
    "mcp:pause_task",
    "mcp:resume_task",
    "mcp:cancel_task",
];

/// What whoever gives rights on a folder must be allowed to do there.
pub const ADMINISTER: &str = "admin";
/// What whoever decides on calls that are held in a folder must be allowed to do there. Who administers the folder may,
/// where no row denies it.
pub const APPROVE: &str = "approve";

/// Who may do everything without any row: this role, and every `operator:` principal.
const OPERATORS: &str = "role:operator";
/// Roles within roles. A chain that is longer is a mistake, and is answered with no.
const DEEPEST: usize = 16;

/// What a matching row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Yes, unless another row denies.
    Allow,
    /// What other rows allow waits until a person approves it.
    Hold,
    /// No, whatever other rows say.
    Deny,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    effect: Effect,
    principal: Principal,
    action: String,
    scope: Glob,
}

/// One principal belongs to another, usually a role, and has its rights and its denials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Membership {
    /// Who belongs.
    pub child: Principal,
    /// To what.
    pub parent: Principal,
}

/// A row that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// The principal.
    #[error("the row's principal cannot be used")]
    Principal(#[from] PrincipalError),
    /// The folders it is about.
    #[error("the row's folders cannot be used")]
    Scope(#[from] GlobError),
    /// The action.
    #[error(
        "`{text}` is no action: write one such as `mcp:send`, `admin`, `mcp:*`, or `*` for all"
    )]
    Action {
        /// What was given.
        text: String,
    },
    /// The effect.
    #[error("`{text}` is no effect: write `allow`, `hold` or `deny`")]
    Effect {
        /// What was given.
        text: String,
    },
}

impl Effect {
    /// `allow`, `hold` or `deny`.
    pub fn parse(text: &str) -> Result<Self, AclError> {
        match text {
            "allow" => Ok(Self::Allow),
            "hold" => Ok(Self::Hold),
            "deny" => Ok(Self::Deny),
            _ => Err(AclError::Effect { text: text.to_owned() }),
        }
    }

    /// `allow`, `hold` or `deny`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }
}

impl Rule {
    /// A row from its text: `action` is one action, `mcp:*` or `*`; `scope` is a glob of folders.
    pub fn parse(
        principal: &str,
        action: &str,
        scope: &str,
        effect: &str,
    ) -> Result<Self, AclError> {
        if !is_action(action) {
            return Err(AclError::Action { text: action.to_owned() });
        }
        Ok(Self {
            effect: Effect::parse(effect)?,
            principal: principal.parse()?,
            action: action.to_owned(),
            scope: scope.parse()?,
        })
    }

    /// Allow, hold or deny.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Whom it is about.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Which action, or actions.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Which folders.
    pub fn scope(&self) -> &Glob {
        &self.scope
    }

    /// Whether it is about all that an action and folders name, either of which may be many.
    fn covers(&self, action: &str, scope: &Glob) -> bool {
        family_has(&self.action, action) && self.scope.covers(scope)
    }

    /// Whether it may be about some of that.
    fn meets(&self, action: &str, scope: &Glob) -> bool {
        let same = family_has(&self.action, action) || family_has(action, &self.action);
        same && self.scope.meets(scope)
    }

    fn is_about(&self, action: &str, folder: &str) -> bool {
        family_has(&self.action, action) && self.scope.matches(folder)
    }
}

/// Whether an action, which may be a family, has this one, which may be one too.
fn family_has(family: &str, action: &str) -> bool {
    match family.strip_suffix('*') {
        Some(family) => action.starts_with(family),
        None => family == action,
    }
}

/// `word`, `word:word`, `word:*` or `*`.
fn is_action(text: &str) -> bool {
    let word = |text: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        !text.is_empty() && text.len() <= 64 && text.bytes().all(plain)
    };
    match text.split_once(':') {
        Some((family, name)) => word(family) && (name == "*" || word(name)),
        None => text == "*" || word(text),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { effect, principal, action, scope } = self;
        write!(f, "{} {principal} {action} on {scope}", effect.as_str())
    }
}

/// The answer to one question, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Yes or no.
    pub allowed: bool,
    /// Why.
    pub because: Because,
}

/// Why a question was answered as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// This row says so.
    Rule(Rule),
    /// It is allowed, once a person has approved it: this row says so.
    Held(Rule),
    /// A folder's agent may do this to its own folder.
    OwnFolder,
    /// An operator may do everything.
    Operator,
    /// Nothing allows it.
    NoRule,
    /// No single row allows all of it.
    NoWholeRule,
    /// Roles within roles go too deep to be followed.
    TooDeep,
    /// The question itself was no question: text that is not one action.
    NoQuestion,
}

impl Decision {
    /// Whether it is allowed once a person has approved it.
    pub fn is_held(&self) -> bool {
        matches!(self.because, Because::Held(_))
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.allowed, self.is_held()) {
            (true, _) => "allowed: ",
            (false, true) => "held: ",
            (false, false) => "denied: ",
        })?;
        fmt::Display::fmt(&self.because, f)
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) | Self::Held(rule) => write!(f, "the row `{rule}` says so"),
            Self::OwnFolder => f.write_str("a folder's agent may do this to its own folder"),
            Self::Operator => f.write_str("an operator may do everything"),
            Self::NoRule => f.write_str("no row allows it"),
            Self::NoWholeRule => f.write_str("no single row allows all of it"),
            Self::TooDeep => {
                write!(f, "roles within roles go deeper than {DEEPEST}; take some out")
            }
            Self::NoQuestion => f.write_str("only one action at a time can be asked for"),
        }
    }
}

/// All rows and memberships, ready to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    rules: BTreeMap<Principal, Vec<Rule>>,
    parents: BTreeMap<Principal, BTreeSet<Principal>>,
}

impl Acl {
    /// Takes the rows in any order.
    pub fn new(
        rules: impl IntoIterator<Item = Rule>,
        memberships: impl IntoIterator<Item = Membership>,
    ) -> Self {
        let mut acl = Self::default();
        for rule in rules {
            acl.rules.entry(rule.principal.clone()).or_default().push(rule);
        }
        for Membership { child, parent } in memberships {
            acl.parents.entry(child).or_default().insert(parent);
        }
        acl
    }

    /// Whether `principal` may do `action` to `folder`.
    pub fn decide(&self, principal: &Principal, action: &str, folder: &Folder) -> Decision {
        let decision = self.decide_approved(principal, action, folder);
        let Some(everyone) = self.belongs_to(principal).filter(|_| decision.allowed) else {
            return decision;
        };
        let rules = everyone.iter().filter_map(|one| self.rules.get(*one)).flatten();
        let holds =
            |rule: &&Rule| rule.effect == Effect::Hold && rule.is_about(action, folder.as_str());
        match rules.filter(holds).min() {
            Some(rule) => Decision { allowed: false, because: Because::Held(rule.clone()) },
            None => decision,
        }
    }

    /// The same for what a person has approved: what would be held is allowed, and nothing else is that was not.
    pub fn decide_approved(
        &self,
        principal: &Principal,
        action: &str,
        folder: &Folder,
    ) -> Decision {
        let no = |because| Decision { allowed: false, because };
        if !is_action(action) || action.contains('*') {
            return no(Because::NoQuestion);
        }
        let Some(everyone) = self.belongs_to(principal) else { return no(Because::TooDeep) };
        let matching = || {
            everyone
                .iter()
                .filter_map(|one| self.rules.get(*one))
                .flatten()
                .filter(|rule| rule.is_about(action, folder.as_str()))
        };
        // The smallest, so that the reason too does not depend on the order of the rows.
        let first = |effect| matching().filter(|rule| rule.effect == effect).min();
        if let Some(rule) = first(Effect::Deny) {
            return no(Because::Rule(rule.clone()));
        }
        let yes = |because| Decision { allowed: true, because };
        if let Some(rule) = first(Effect::Allow) {
            return yes(Because::Rule(rule.clone()));
        }
        if everyone.iter().any(|one| one.kind() == "operator" || one.as_str() == OPERATORS) {
            return yes(Because::Operator);
        }
        let own = principal.kind() == "folder" && principal.id() == folder.as_str();
        if own && OWN_FOLDER_ACTIONS.contains(&action) {
            return yes(Because::OwnFolder);
        }
        no(Because::NoRule)
    }

    /// Whether `principal` may decide on calls that are held in `folder`: by the action [`APPROVE`], or because they
    /// administer it and no row denies them that.
    pub fn may_approve(&self, principal: &Principal, folder: &Folder) -> Decision {
        let decision = self.decide(principal, APPROVE, folder);
        match decision.because {
            Because::NoRule => self.decide(principal, ADMINISTER, folder),
            _ => decision,
        }
    }

    /// Whether `principal` may do all of `action`, which may be a family, to all folders of `scope`. One row must
    /// allow the whole, and no row may deny or hold a part: where it is not plain that all is held, it is not.
    pub fn holds(&self, principal: &Principal, action: &str, scope: &Glob) -> Decision {
        let no = |because| Decision { allowed: false, because };
        let Some(everyone) = self.belongs_to(principal) else { return no(Because::TooDeep) };
        let rules = || everyone.iter().filter_map(|one| self.rules.get(*one)).flatten();
        let denies = |rule: &&Rule| rule.effect != Effect::Allow && rule.meets(action, scope);
        if let Some(rule) = rules().filter(denies).min() {
            return no(Because::Rule(rule.clone()));
        }
        let allows = |rule: &&Rule| rule.effect == Effect::Allow && rule.covers(action, scope);
        let yes = |because| Decision { allowed: true, because };
        if let Some(rule) = rules().filter(allows).min() {
            return yes(Because::Rule(rule.clone()));
        }
        if everyone.iter().any(|one| one.kind() == "operator" || one.as_str() == OPERATORS) {
            return yes(Because::Operator);
        }
        no(Because::NoWholeRule)
    }

    /// Whether `granter` may add this row: who administers the row's folders may give what they hold there themselves,
    /// and may deny or hold anything there. The first thing that is missing is the answer.
    pub fn may_grant(&self, granter: &Principal, rule: &Rule) -> Decision {
        let administers = self.holds(granter, ADMINISTER, &rule.scope);
        if !administers.allowed || rule.effect != Effect::Allow {
            return administers;
        }
        self.holds(granter, &rule.action, &rule.scope)
    }

    /// Whether `granter` may take this row away. Taking a denial or a hold away gives what it kept back.
    pub fn may_revoke(&self, granter: &Principal, rule: &Rule) -> Decision {
        match rule.effect {
            Effect::Allow => self.holds(granter, ADMINISTER, &rule.scope),
            Effect::Hold | Effect::Deny => {
                self.may_grant(granter, &Rule { effect: Effect::Allow, ..rule.clone() })
            }
        }
    }

    /// Whether there is any folder to which `principal` may do `action`, as far as one can tell without trying: for
    /// listing what may be of use, and never for a decision.
    pub fn may_somewhere(&self, principal: &Principal, action: &str) -> bool {
        let Some(everyone) = self.belongs_to(principal) else { return false };
        let rules = || everyone.iter().filter_map(|one| self.rules.get(*one)).flatten();
        let own = principal.id().parse::<Folder>();
        own.is_ok_and(|own| self.decide_approved(principal, action, &own).allowed)
            || rules().any(|rule| {
                rule.effect == Effect::Allow
                    && family_has(&rule.action, action)
                    && !rules()
                        .any(|deny| deny.effect == Effect::Deny && deny.covers(action, &rule.scope))
            })
    }

    /// `principal` and all it belongs to, through any number of roles; none when that goes too deep, since a denial
    /// may lie beyond.
    fn belongs_to<'a>(&'a self, principal: &'a Principal) -> Option<BTreeSet<&'a Principal>> {
        let mut everyone = BTreeSet::from([principal]);
        let mut edge = vec![principal];
        for _ in 0..=DEEPEST {
            let parents = edge.iter().filter_map(|one| self.parents.get(*one)).flatten();
            edge = parents.filter(|parent| everyone.insert(*parent)).collect();
            if edge.is_empty() {
                return Some(everyone);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
