//! Which folder takes a message, and why. Pure: the facts are arguments.
//!
//! In this order, and the first that applies decides:
//!
//! 1. a direct address (`web:FOLDER`, `hook:FOLDER/SOURCE`) goes to its folder;
//! 2. an engagement: the agent spoke there a short while ago;
//! 3. a reply to something that the agent said;
//! 4. a chat that is pinned to a folder;
//! 5. the route table, lowest `seq` first.
//!
//! What happened and is no message (an edit, a reaction, somebody who joined) starts no turn: the folder that a message
//! would go to stores it. A route that names the verb takes it before all that, and does with it what its target says.
//!
//! A folder that is each person's own is reached by that person alone: neither an engagement nor a reply leads
//! somebody else there. A rule whose folder is out of service takes the message nowhere, and says so; it does not
//! pass on to the next rule, because a message must not surface with somebody whom nobody meant.

mod glob;
mod pattern;
mod target;

pub(crate) use pattern::{Pattern, RouteError, Subject};
pub(crate) use target::{Mode, Target};

use proto::{Address, Folder, Jid, Topic};

/// A message, as far as routing looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) jid: &'a Jid,
    pub(crate) sender: &'a str,
    pub(crate) verb: &'a str,
    /// The topic that the platform gave it.
    pub(crate) thread: &'a Topic,
}

/// A folder and topic that a message belongs to because of what happened before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Earlier {
    pub(crate) folder: Folder,
    pub(crate) topic: Topic,
    /// For this sender alone; everyone where there is none.
    pub(crate) sender: Option<String>,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) id: i64,
    pub(crate) pattern: Pattern,
    pub(crate) target: Target,
}

/// What is known when a message is routed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Where the agent spoke a short while ago, in this chat and thread.
    pub(crate) engaged: Option<Earlier>,
    /// What the message is a reply to, where the agent said that.
    pub(crate) replied: Option<Earlier>,
    /// The folder that the chat is pinned to.
    pub(crate) pinned: Option<Folder>,
    /// The table, in order; what cannot be of this chat may be left out.
    pub(crate) rules: Vec<Rule>,
}

/// What happens with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A turn answers it.
    Turn,
    /// It is stored for later turns.
    Observe,
    /// It is stored, and nothing takes it.
    Unrouted,
}

impl Effect {
    /// Its name in answers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Observe => "observe",
            Self::Unrouted => "unrouted",
        }
    }
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) effect: Effect,
    pub(crate) folder: Option<Folder>,
    pub(crate) topic: Topic,
    /// Whether a rule pinned the topic.
    pub(crate) pinned_topic: bool,
    pub(crate) route_id: Option<i64>,
    /// Whether the folder is this sender's alone.
    pub(crate) per_person: bool,
    /// The folder that this one is to be made below, where it is not there yet.
    pub(crate) made_below: Option<Folder>,
    /// The rule that decided, in a few words.
    pub(crate) rule: String,
    /// Every rule that was tried, in order, and why it decided or did not.
    pub(crate) steps: Vec<String>,
}

/// The verbs of what is no message. Whatever is not here is one, and may start a turn.
const EVENTS: [&str; 7] = ["edit", "delete", "react", "unreact", "join", "leave", "membership"];

/// What decided where nothing did.
const NO_ROUTE: &str = "no route";

impl Decision {
    /// Whether nothing at all is known of the chat: neither what was said there before nor any rule leads anywhere.
    pub(crate) fn is_of_a_stranger(&self) -> bool {
        self.rule == NO_ROUTE
    }
}

/// Decides. `in_service` says whether a folder is there and takes messages.
pub(crate) fn decide<E>(
    query: &Query<'_>,
    facts: &Facts,
    mut in_service: impl FnMut(&Folder) -> Result<bool, E>,
) -> Result<Decision, E> {
    let mut trail = Trail { steps: Vec::new(), topic: query.thread.clone() };
    if let Address::Web(folder) | Address::Hook(folder, _) = query.jid.address() {
        let there = in_service(&folder)?;
        return Ok(trail.direct(query.jid, folder, there));
    }
    trail.skip("the address names no folder");
    let subject = Subject { chat_jid: query.jid.as_str(), sender: query.sender, verb: query.verb };
    if !EVENTS.contains(&query.verb) {
        return standing(trail, query, facts, subject, in_service);
    }
    let holds =
        |rule: &&Rule| rule.pattern.asks_for_verb() && rule.pattern.refuses(&subject).is_none();
    if let Some(rule) = facts.rules.iter().find(holds) {
        let there = in_service(rule.target.base())?;
        return Ok(trail.row(rule, query.sender, there));
    }
    let mut decision = standing(trail, query, facts, subject, in_service)?;
    if decision.effect == Effect::Turn {
        decision.effect = Effect::Observe;
        let step = format!("`{}` is no message, and no route names it: it is stored", query.verb);
        decision.steps.push(step);
    } else if decision.is_of_a_stranger() {
        // Who joined, or reacted, said nothing: that is no reason to address them.
        decision.rule = format!("no route takes `{}`", query.verb);
    }
    Ok(decision)
}

/// Decides by what was before, and then by the table.
fn standing<E>(
    mut trail: Trail,
    query: &Query<'_>,
    facts: &Facts,
    subject: Subject<'_>,
    mut in_service: impl FnMut(&Folder) -> Result<bool, E>,
) -> Result<Decision, E> {
    let earlier = [
        ("engagement", &facts.engaged, "the agent has not spoken here lately"),
        ("reply", &facts.replied, "it answers nothing that the agent said"),
    ];
    for (name, fact, absent) in earlier {
        match fact {
            None => trail.skip(format!("{name}: {absent}")),
            Some(fact) if fact.sender.as_deref().is_some_and(|one| one != query.sender) => {
                trail.skip(format!("{name}: that was for one person, and not for this sender"));
            }
            Some(fact) => {
                let there = in_service(&fact.folder)?;
                return Ok(trail.earlier(name, fact, there));
            }
        }
    }
    match &facts.pinned {
        None => trail.skip("pin: the chat is not pinned to a folder"),
        Some(folder) => {
            let there = in_service(folder)?;
            let fact = Earlier { folder: folder.clone(), topic: trail.topic.clone(), sender: None };
            return Ok(trail.earlier("pin", &fact, there));
        }
    }
    for rule in &facts.rules {
        if let Some(why) = rule.pattern.refuses(&subject) {
            trail.skip(format!("route {}: {why}", rule.id));
            continue;
        }
        let there = in_service(rule.target.base())?;
        return Ok(trail.row(rule, query.sender, there));
    }
    trail.skip("no route takes it");
    Ok(trail.nowhere(NO_ROUTE.into()))
}

struct Trail {
    steps: Vec<String>,
    topic: Topic,
}

impl Trail {
    fn skip(&mut self, step: impl Into<String>) {
        self.steps.push(step.into());
    }

    fn nowhere(self, rule: String) -> Decision {
        Decision {
            effect: Effect::Unrouted,
            folder: None,
            topic: self.topic,
            pinned_topic: false,
            route_id: None,
            per_person: false,
            made_below: None,
            rule,
            steps: self.steps,
        }
    }

    fn out_of_service(mut self, rule: &str, folder: &Folder) -> Decision {
        self.skip(format!("{rule}: the folder {folder} is not in service"));
        self.nowhere(format!("{rule}; the folder {folder} is not in service"))
    }

    fn direct(mut self, jid: &Jid, folder: Folder, there: bool) -> Decision {
        if !there {
            return self.out_of_service("address", &folder);
        }
        self.skip(format!("address: {jid} is the folder {folder} itself"));
        let rule = "address".to_owned();
        Decision { effect: Effect::Turn, folder: Some(folder), ..self.nowhere(rule) }
    }

    fn earlier(mut self, name: &str, fact: &Earlier, there: bool) -> Decision {
        let folder = &fact.folder;
        if !there {
            return self.out_of_service(name, folder);
        }
        self.skip(format!("{name}: it belongs to the folder {folder}"));
        Decision {
            effect: Effect::Turn,
            folder: Some(folder.clone()),
            topic: fact.topic.clone(),
            per_person: fact.sender.is_some(),
            ..self.nowhere(name.to_owned())
        }
    }

    fn row(mut self, rule: &Rule, sender: &str, there: bool) -> Decision {
        let name = format!("route {}", rule.id);
        let target = &rule.target;
        if !there {
            return self.out_of_service(&name, target.base());
        }
        if target.is_per_person() && sender.is_empty() {
            self.skip(format!("{name}: it has a folder for each sender, and there is no sender"));
            return self.nowhere(format!("{name}; there is no sender"));
        }
        let folder = match target.folder_of(sender) {
            Ok(folder) => folder,
            Err(error) => {
                self.skip(format!("{name}: {error}"));
                return self.nowhere(format!("{name}; {error}"));
            }
        };
        let effect = match target.mode {
            Mode::Observe => Effect::Observe,
            Mode::Turn | Mode::Topic(_) => Effect::Turn,
        };
        self.skip(format!("{name}: `{}` holds; {} in {folder}", rule.pattern, effect.name()));
        let per_person = target.is_per_person();
        let mut decision = Decision {
            effect,
            folder: Some(folder),
            route_id: Some(rule.id),
            per_person,
            made_below: per_person.then(|| target.base().clone()),
            ..self.nowhere(name)
        };
        if let Mode::Topic(topic) = &target.mode {
            decision.topic = topic.clone();
            decision.pinned_topic = true;
        }
        decision
    }
}

#[cfg(test)]
mod tests;
