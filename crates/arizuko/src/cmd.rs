//! The operator's commands. Each calls an owner's endpoint with the operator's own rights.

mod acl;
mod approvals;
pub(crate) mod ask;
mod audit;
mod backup;
mod doctor;
mod keys;
mod log;
mod newcomers;
mod restore;
mod secrets;
mod settings;
pub(crate) mod status;
mod stdin;
mod tables;
mod task;
mod tenant_secret;
mod usage;

use crate::{
    addresses::Addresses,
    chaos,
    cli::{Cli, Command},
    failure::{Exit, Failure},
    instance::{Environment, Instance},
    output::Output,
    session, up,
};
use clap::CommandFactory;

/// Does what the command line says.
///
/// # Errors
/// In one line, with an exit code of sysexits.h.
pub async fn run(cli: Cli, environment: &Environment) -> Result<(), Failure> {
    let output = Output::new(&cli.global, environment.contains_key("NO_COLOR"));
    let mut global = cli.global.clone();
    if let Command::Create { name } = &cli.command {
        global.instance = Some(name.clone());
    }
    let instance = Instance::find(&global, environment)?;
    match cli.command {
        Command::Create { .. } => create(&instance, environment, output).await,
        Command::Up(args) => {
            begin_daemons(&instance)?;
            up::up(&instance, environment, &args, output).await
        }
        Command::Run { daemon } => {
            begin_daemons(&instance)?;
            up::run(&instance, environment, daemon, output).await
        }
        Command::Ask(args) => ask::run(&instance, args, output).await,
        Command::Health { daemon } => status::health(&instance, daemon, output).await,
        Command::Status => status::status(&instance, output).await,
        Command::Trace { id, chat } => log::trace(&instance, id, chat, output).await,
        Command::Secrets(command) => secrets::run(&instance, environment, command, output).await,
        Command::Group(command) => tables::group(&instance, command, output).await,
        Command::Route(command) => tables::route(&instance, command, output).await,
        Command::Token(command) => tables::token(&instance, command, output).await,
        Command::TenantSecret(command) => tenant_secret::run(&instance, command, output).await,
        Command::Acl(command) => acl::run(&instance, command, output).await,
        Command::Approval(command) => approvals::run(&instance, command, output).await,
        Command::Task(command) => task::run(&instance, command, output).await,
        Command::Invite(command) => newcomers::invite(&instance, command, output).await,
        Command::Queue(command) => newcomers::queue(&instance, command, output).await,
        Command::Gate(command) => newcomers::gate(&instance, command, output).await,
        Command::People => newcomers::people(&instance, output).await,
        Command::Usage(args) => usage::run(&instance, args, output).await,
        Command::Login => login(&instance, output).await,
        Command::Keys(what) => keys::run(&instance, what, output).await,
        Command::Audit(args) => audit::run(&instance, &args, output).await,
        Command::Doctor(args) => doctor::run(&instance, environment, &args, output).await,
        Command::Backup(args) => backup::run(&instance, &args, output).await,
        Command::Restore(args) => restore::run(&instance, environment, &args, output).await,
        Command::Chaos(args) => chaos::run(&args, output).await,
        Command::Settings { markdown } => settings::run(&instance, markdown, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "arizuko", &mut script);
            output.line(&String::from_utf8_lossy(&script))
        }
        Command::Version => version(output),
    }
}

/// What a process that runs daemons does first: log, and keep its memory to itself.
fn begin_daemons(instance: &Instance) -> Result<(), Failure> {
    kit::logs::begin(&instance.settings)?;
    if let Err(error) = kit::harden() {
        tracing::warn!(%error, "core dumps could not be turned off");
    }
    Ok(())
}

async fn create(
    instance: &Instance,
    environment: &Environment,
    output: Output,
) -> Result<(), Failure> {
    if let Some(other) = instance.named()?.filter(|name| *name != instance.name) {
        let line = format!(
            "{} is the data directory of the instance {other}; choose another --data-dir for {}",
            instance.dir.display(),
            instance.name
        );
        return Err(Failure::new(Exit::CannotCreate, line));
    }
    let made = instance.create(environment).await?;
    let answer = serde_json::json!({
        "instance": instance.name,
        "data_dir": instance.dir,
        "created": made.directory,
        "generated": made.secrets,
    });
    output.print(&answer, |_| {
        let dir = instance.dir.display();
        match (made.directory, made.secrets.as_slice()) {
            (true, names) => {
                let secrets = match names {
                    [] => "no secret was generated: the configured sources have them, or must be given them".into(),
                    names => format!("generated {} in {}", names.join(", "), instance.dotenv().display()),
                };
                format!("made the instance {} in {dir}; {secrets}\nstart it with `arizuko up`", instance.name)
            }
            (false, []) => format!("the instance {} is in {dir}; nothing was missing", instance.name),
            (false, names) => format!("the instance {} is in {dir}; generated {}", instance.name, names.join(", ")),
        }
    })
}

async fn login(instance: &Instance, output: Output) -> Result<(), Failure> {
    let link = session::login_link(instance).await?;
    let base = Addresses::find(instance)?.public(&instance.settings);
    let url = format!("{base}{}", link.path);
    let answer = serde_json::json!({ "url": url, "expires_at": link.expires_at });
    output.print(&answer, |_| format!("{url}\n(good once, until {})", link.expires_at))
}

fn version(output: Output) -> Result<(), Failure> {
    let answer = serde_json::json!({ "name": "arizuko", "version": env!("CARGO_PKG_VERSION") });
    output.print(&answer, |_| format!("arizuko {}", env!("CARGO_PKG_VERSION")))
}
