//! The command line, as operators type it.

mod copies;
mod doctor;
mod keys;
mod secrets;

pub use copies::{Backup, Restore};
pub use doctor::Doctor;
pub use keys::Keys;
pub use secrets::{InCluster, Secrets};

use crate::chaos::Chaos;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use kit::parse;
use proto::{
    Daemon, Folder, Jid, Opaque, Timestamp, Topic,
    routd::{LinkKind, Missed, Signature},
    turn::Harness,
};
use std::{path::PathBuf, time::Duration};

mod approvals;
mod newcomers;
mod usage;

pub use approvals::Approval;
pub use newcomers::{Gate, Invite, Queue};
pub use usage::{CapArgs, Usage, UsageCommand};

/// Routes messages from chats to AI agents, for many tenants, with every secret in one place.
#[derive(Debug, Parser)]
#[command(name = "arizuko", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Where it is, and how to speak of it.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The flags of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The instance's data directory [default: DATA_DIR, else one by the instance's name]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The instance's name [default: INSTANCE_NAME, else demo]
    #[arg(long, global = true, value_name = "NAME")]
    pub instance: Option<String>,
    /// Print one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no more than was asked for
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print without colours
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an instance: its data directory, its settings, its secrets. Again: changes nothing
    Create {
        /// The instance's name
        name: String,
    },
    /// Run the whole suite in this process, in the foreground
    Up(Up),
    /// Run one daemon, as in a container
    Run {
        /// Which daemon
        #[arg(value_parser = daemon)]
        daemon: Daemon,
    },
    /// Send one message and print the agent's reply
    Ask(Ask),
    /// Exit with 0 when a daemon is ready
    Health {
        /// Which daemon
        #[arg(value_parser = daemon)]
        daemon: Daemon,
    },
    /// Every daemon: alive, ready, version, address; and the queues
    Status,
    /// Prove the installation: try everything, and say what to do about what is wrong
    Doctor(Doctor),
    /// A message's whole life
    Trace {
        /// The message's id
        id: Opaque,
        /// Its chat, where the id stands in several
        #[arg(long, value_name = "JID")]
        chat: Option<Jid>,
    },
    /// Where every secret comes from, how old it is, and what is wrong with it
    #[command(subcommand)]
    Secrets(Secrets),
    /// Folders: each is a tenant with an agent
    #[command(subcommand)]
    Group(Group),
    /// Which chat goes to which folder
    #[command(subcommand)]
    Route(Route),
    /// Links that carry their own right to a chat or a webhook
    #[command(subcommand)]
    Token(Token),
    /// Sealed secrets of folders and persons, which agents have spent and never see
    #[command(subcommand)]
    TenantSecret(TenantSecret),
    /// Rights: who may do what to which folder, and why
    #[command(subcommand)]
    Acl(Acl),
    /// Calls of tools that wait for a person: see them, approve them, deny them
    #[command(subcommand)]
    Approval(Approval),
    /// Schedules: messages that come to a folder's agent at their time
    #[command(subcommand)]
    Task(Task),
    /// Links by which people come in without an operator
    #[command(subcommand)]
    Invite(Invite),
    /// Who wrote and has no folder yet: let them in, or refuse them
    #[command(subcommand)]
    Queue(Queue),
    /// How many people come in each day without an operator
    #[command(subcommand)]
    Gate(Gate),
    /// Who was let in, and which folder each has
    People,
    /// What models were used, what that cost, and what folders, persons and the instance may spend
    Usage(Usage),
    /// Print a one-time link that logs this operator in
    Login,
    /// The keys that sign tokens
    #[command(subcommand)]
    Keys(Keys),
    /// What was done and what was refused, newest first
    Audit(Audit),
    /// Copy the instance, as it is at one moment, into a new directory; it may run
    Backup(Backup),
    /// Make an instance from a backup, in an empty data directory
    Restore(Restore),
    /// Injure a suite of its own, and see whether it keeps every message
    Chaos(Chaos),
    /// Every setting: its value, where that comes from, and what it is for
    Settings {
        /// Print the reference, as Markdown, without this instance's values
        #[arg(long)]
        markdown: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// How to run the suite.
#[derive(Args, Clone, Debug, Default)]
pub struct Up {
    /// Listen from this port on; 0 for any free ports [default: 8080, the edge on 8090]
    #[arg(long, value_name = "N")]
    pub port_base: Option<u16>,
}

/// A message to send.
#[derive(Args, Debug)]
pub struct Ask {
    /// The folder that answers
    #[arg(long, default_value = "main")]
    pub folder: Folder,
    /// The topic within it
    #[arg(long)]
    pub topic: Option<Topic>,
    /// How long to wait for the reply
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// The message
    pub text: String,
}

/// What to do with folders.
#[derive(Debug, Subcommand)]
pub enum Group {
    /// Add a folder. Again: changes what is said anew, and nothing else
    Add {
        /// The folder, such as team/name
        folder: Folder,
        /// A chat whose messages go there
        #[arg(long)]
        jid: Option<Jid>,
        /// What runs its turns: offline, command, claude or builtin [default: the instance's]
        #[arg(long)]
        harness: Option<Harness>,
        /// For `command`: the program and its arguments
        #[arg(long, num_args = 1.., allow_hyphen_values = true, value_name = "WORD")]
        command: Vec<String>,
        /// For `claude` and `builtin`: the model; '' for the instance's
        #[arg(long)]
        model: Option<String>,
    },
    /// Change what runs the turns of a folder that is there
    Set {
        /// The folder
        folder: Folder,
        /// What runs its turns: offline, command, claude or builtin
        #[arg(long)]
        harness: Option<Harness>,
        /// For `command`: the program and its arguments
        #[arg(long, num_args = 1.., allow_hyphen_values = true, value_name = "WORD")]
        command: Vec<String>,
        /// For `claude` and `builtin`: the model; '' for the instance's
        #[arg(long)]
        model: Option<String>,
    },
    /// One folder
    Show {
        /// The folder
        folder: Folder,
    },
    /// The folders
    List,
    /// Take a folder out of service; its messages stay
    Rm {
        /// The folder
        folder: Folder,
    },
}

/// What to do with routes.
#[derive(Debug, Subcommand)]
pub enum Route {
    /// Add a route
    Add {
        /// Predicates such as 'platform=telegram verb=mention'
        #[arg(long = "match", value_name = "EXPR", default_value = "")]
        pattern: String,
        /// folder, folder#observe or folder#topic
        #[arg(long)]
        target: String,
        /// Where it stands; the lowest is tried first
        #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
        seq: i64,
    },
    /// The routes, in the order in which they are tried
    List,
    /// Remove a route
    Rm {
        /// Its id
        id: i64,
    },
    /// Which route takes a message, and why
    Explain {
        /// The chat
        jid: Jid,
        /// Who writes
        #[arg(long)]
        sender: Option<String>,
        /// What kind of message it is
        #[arg(long)]
        verb: Option<String>,
    },
}

/// What to do with links.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a link; it is shown once
    Issue {
        /// chat or hook
        #[arg(long)]
        kind: LinkKind,
        /// The folder its messages go to
        #[arg(long)]
        folder: Folder,
        /// For a hook: the name of the program that posts
        #[arg(long)]
        source: Option<String>,
        /// For a hook: how its deliveries are signed, github or standard (Standard Webhooks); others are refused
        #[arg(long, value_name = "SCHEME")]
        signature: Option<Signature>,
        /// Read the signing secret from standard input, where the sender chose it; else a random one is made
        #[arg(long, requires = "signature")]
        secret_stdin: bool,
    },
    /// Give a signed hook a new signing secret; the one before it stays good for SECRETS_OVERLAP
    Rotate {
        /// Its id
        id: Opaque,
        /// Read the signing secret from standard input; else a random one is made
        #[arg(long)]
        secret_stdin: bool,
    },
    /// The links, without their tokens
    List,
    /// End a link
    Revoke {
        /// Its id
        id: Opaque,
    },
}

/// Which part of the audit logs.
#[derive(Args, Clone, Debug)]
pub struct Audit {
    /// How many rows
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    /// Only what happened since: a time (RFC 3339), or how long ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Since>,
    /// Only this owner's log: authd, routd, runed or onbod
    #[arg(long, value_name = "DAEMON", value_parser = daemon)]
    pub daemon: Option<Daemon>,
    /// Read each log whole, and check that no row was edited, taken out or put in
    #[arg(long, conflicts_with_all = ["since", "limit"])]
    pub verify: bool,
}

/// A time, as an operator says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// This time.
    Time(Timestamp),
    /// This long ago.
    Ago(Duration),
}

fn since(text: &str) -> Result<Since, String> {
    if let Some(ago) = parse::duration(text) {
        return Ok(Since::Ago(ago));
    }
    let time = serde_json::from_value(text.into());
    time.map(Since::Time).map_err(|_| "write it as 30m, 24h or 2026-01-31T12:00:00Z".into())
}

/// What to do with the secrets of folders and persons.
#[derive(Debug, Subcommand)]
pub enum TenantSecret {
    /// Store a secret, its value read from standard input; again: replace it
    Set {
        #[command(flatten)]
        owner: OwnerArg,
        /// Its name, such as GITHUB_TOKEN; ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN and OPENAI_API_KEY are for the
        /// models
        name: String,
        /// Where it may go: https://HOST/PATH, with a port where it has one; needed for all but a model's key
        #[arg(long)]
        url: Option<String>,
        /// The header that carries it, with {} where it stands [default: Authorization: Bearer {}]
        #[arg(long, value_name = "NAME: TEXT")]
        header: Option<String>,
    },
    /// The secrets, without their values
    List,
    /// Remove a secret
    Rm {
        /// Its id
        id: Opaque,
    },
}

/// What to do with rights.
#[derive(Debug, Subcommand)]
pub enum Acl {
    /// Add a row; a deny wins over a hold, and a hold over any allow. Again: changes nothing
    Grant(AclArgs),
    /// Take a row away
    Revoke(AclArgs),
    /// The rows, and who belongs to what
    List {
        /// Only what names this principal
        #[arg(long)]
        principal: Option<String>,
    },
    /// Whether somebody may do something to a folder, and which row decides
    Check {
        /// Who, such as folder:team/name
        principal: String,
        /// What, such as mcp:delegate
        action: String,
        /// To which folder
        folder: Folder,
    },
    /// Have somebody belong to a role, with all its rights and denials
    Join {
        /// Who
        child: String,
        /// The role, such as role:lead
        parent: String,
    },
    /// End that
    Leave {
        /// Who
        child: String,
        /// The role
        parent: String,
    },
}

/// A row of rights.
#[derive(Args, Clone, Debug)]
pub struct AclArgs {
    /// Who: folder:NAME (its agent), user:ID, person:ADDRESS (who writes from there), role:NAME
    pub principal: String,
    /// What: mcp:TOOL, mcp:* (all tools), admin, approve, egress, or * for everything
    pub action: String,
    /// To which folders: team/name, team/*, team/**
    pub folders: String,
    /// A row that denies
    #[arg(long)]
    pub deny: bool,
    /// A row that holds: what is allowed waits until a person approves it
    #[arg(long, conflicts_with = "deny")]
    pub hold: bool,
}

/// Whose secret.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct OwnerArg {
    /// A folder's: every turn of that folder may have it spent
    #[arg(long)]
    pub folder: Option<Folder>,
    /// A person's, by the address they write from: turns that answer this person alone may have it spent
    #[arg(long, value_name = "ADDRESS")]
    pub person: Option<String>,
}

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Have a message come once or again and again
    Add {
        /// When: "0 9 * * mon-fri", @daily, "every 15m" or "at 2026-12-01T09:00"
        when: String,
        /// The message
        text: String,
        /// Whose agent gets it
        #[arg(long, default_value = "main")]
        folder: Folder,
        /// Where the reply goes [default: a web chat of its own]
        #[arg(long, value_name = "JID")]
        chat: Option<Jid>,
        /// The topic of that chat
        #[arg(long)]
        topic: Option<Topic>,
        /// By whose clock [default: UTC]
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
        /// What becomes of times that pass while nothing runs: skip, once or all
        #[arg(long, default_value = "once")]
        missed: Missed,
    },
    /// The schedules, and when each fires next
    List {
        /// Those of this folder alone
        #[arg(long)]
        folder: Option<Folder>,
    },
    /// What a schedule did last, newest first
    Log {
        /// Its id
        id: Opaque,
    },
    /// Have a schedule fire no more until it is resumed
    Pause {
        /// Its id
        id: Opaque,
    },
    /// Have a paused schedule fire again, from now on
    Resume {
        /// Its id
        id: Opaque,
    },
    /// Have a schedule fire now, besides its own times
    Run {
        /// Its id
        id: Opaque,
    },
    /// Remove a schedule and its log
    Rm {
        /// Its id
        id: Opaque,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    parse::duration(text).ok_or_else(|| "write it as 500ms, 30s, 5m or 1h".into())
}

fn daemon(text: &str) -> Result<Daemon, String> {
    text.parse().map_err(|error: proto::UnknownDaemon| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_hangs_together() {
        Cli::command().debug_assert();
    }
}
