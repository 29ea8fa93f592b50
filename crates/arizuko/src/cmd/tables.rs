//! `arizuko group`, `route` and `token`: the tables of routd.

use super::stdin;
use crate::{
    addresses::Addresses,
    cli::{Group, Route, Token},
    failure::{Exit, Failure},
    instance::Instance,
    output::{Output, table},
    session::Session,
};
use kit::Peer;
use proto::{
    Daemon, Folder, Nothing,
    routd::{self, LinkKind},
};

pub(super) async fn group(
    instance: &Instance,
    command: Group,
    output: Output,
) -> Result<(), Failure> {
    let routd = Session::begin(instance).await?.peer(Daemon::Routd);
    match command {
        Group::Add { folder, jid, harness, command, model } => {
            let new = routd::NewGroup { folder, jid, harness, command, model };
            let group = routd.call(&routd::ADD_GROUP, &new).await?;
            output.print(&group, |group| {
                let folder = &group.folder;
                format!(
                    "the folder {folder} is in service; try `arizuko ask --folder {folder} hello`"
                )
            })
        }
        Group::List => {
            let groups = routd.call(&routd::LIST_GROUPS, &Nothing {}).await?;
            output.print(&groups, |groups| folders(&groups.groups))
        }
        Group::Set { folder, harness, command, model } => {
            // A misspelt name makes no folder.
            one_folder(&routd, &folder).await?;
            let new = routd::NewGroup { folder, jid: None, harness, command, model };
            let group = routd.call(&routd::ADD_GROUP, &new).await?;
            output.print(&group, |group| folders(std::slice::from_ref(group)))
        }
        Group::Show { folder } => {
            let group = one_folder(&routd, &folder).await?;
            output.print(&group, |group| folders(std::slice::from_ref(group)))
        }
        Group::Rm { folder } => {
            one_folder(&routd, &folder).await?;
            let request = routd::RemoveGroup { folder: folder.clone() };
            let answer = routd.call(&routd::REMOVE_GROUP, &request).await?;
            output.print(&answer, |_| {
                format!("the folder {folder} is out of service; its messages stay")
            })
        }
    }
}

/// The folder, if it is in service.
async fn one_folder(routd: &Peer, folder: &Folder) -> Result<routd::Group, Failure> {
    let groups = routd.call(&routd::LIST_GROUPS, &Nothing {}).await?.groups;
    let found = groups.into_iter().find(|group| group.folder == *folder);
    found.ok_or_else(|| {
        let text = format!("there is no folder {folder} in service; see `arizuko group list`");
        Failure::new(Exit::Data, text)
    })
}

fn folders(groups: &[routd::Group]) -> String {
    let row = |group: &routd::Group| {
        let default = "(default)";
        vec![
            group.folder.to_string(),
            group.harness.map_or(default, |harness| harness.name()).into(),
            group.model.as_deref().unwrap_or(default).into(),
            group.command.join(" "),
            group.created_at.to_string(),
        ]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    table(&["FOLDER", "HARNESS", "MODEL", "COMMAND", "SINCE"], &rows)
}

pub(super) async fn route(
    instance: &Instance,
    command: Route,
    output: Output,
) -> Result<(), Failure> {
    let routd = Session::begin(instance).await?.peer(Daemon::Routd);
    match command {
        Route::Add { pattern, target, seq } => {
            let row =
                routd.call(&routd::ADD_ROUTE, &routd::NewRoute { seq, pattern, target }).await?;
            output.print(&row, |row| {
                format!("route {} sends `{}` to {}", row.id, row.pattern, row.target)
            })
        }
        Route::List => {
            let rows = routd.call(&routd::LIST_ROUTES, &Nothing {}).await?;
            output.print(&rows, |rows| {
                let row = |row: &routd::RouteRow| {
                    vec![
                        row.id.to_string(),
                        row.seq.to_string(),
                        row.pattern.clone(),
                        row.target.clone(),
                    ]
                };
                let rows: Vec<_> = rows.routes.iter().map(row).collect();
                table(&["ID", "SEQ", "MATCH", "TARGET"], &rows)
            })
        }
        Route::Rm { id } => {
            let answer = routd.call(&routd::REMOVE_ROUTE, &routd::RemoveRoute { id }).await?;
            output.print(&answer, |_| format!("route {id} is gone"))
        }
        Route::Explain { jid, sender, verb } => {
            let query = routd::ExplainRoute { jid, sender, verb };
            let why = routd.call(&routd::EXPLAIN_ROUTE, &query).await?;
            output.print(&why, |why| {
                let folder = why.folder.as_ref().map_or("nowhere".into(), ToString::to_string);
                let topic =
                    why.topic.as_ref().map(|topic| format!(", topic {topic}")).unwrap_or_default();
                let steps: Vec<_> = why.steps.iter().map(|step| format!("  {step}")).collect();
                format!("{}: {folder}{topic}\n{}", why.effect, steps.join("\n"))
            })
        }
    }
}

pub(super) async fn token(
    instance: &Instance,
    command: Token,
    output: Output,
) -> Result<(), Failure> {
    let routd = Session::begin(instance).await?.peer(Daemon::Routd);
    match command {
        Token::Issue { kind, folder, source, signature, secret_stdin } => {
            let signing_secret = signing_secret(secret_stdin, output)?;
            let wanted = routd::IssueLink { kind, folder, source, signature, signing_secret };
            let issued = routd.call(&routd::ISSUE_LINK, &wanted).await?;
            let base = Addresses::find(instance)?.public(&instance.settings);
            let url = format!("{base}{}", issued.path);
            let answer = serde_json::json!({
                "id": issued.link.id, "kind": kind, "folder": issued.link.folder,
                "chat_jid": issued.link.chat_jid, "token": issued.token, "path": issued.path, "url": url,
                "signing_secret": issued.signing_secret,
            });
            output.print(&answer, |_| {
                let how = match kind {
                    LinkKind::Chat => "open it in a browser",
                    LinkKind::Hook => "post to it, as in `curl -d '{\"content\":\"hello\"}' URL`",
                };
                let id = &issued.link.id;
                let secret = match &issued.signing_secret {
                    Some(secret) => format!("signing secret: {secret}\n"),
                    None => String::new(),
                };
                format!(
                    "{url}\n{secret}({how}; shown once; end it with `arizuko token revoke {id}`)"
                )
            })
        }
        Token::List => {
            let links = routd.call(&routd::LIST_LINKS, &Nothing {}).await?;
            output.print(&links, |links| {
                let row = |link: &routd::Link| {
                    let kind = link.kind.name().to_owned();
                    vec![
                        link.id.to_string(),
                        kind,
                        link.folder.to_string(),
                        link.chat_jid.to_string(),
                        link.created_at.to_string(),
                    ]
                };
                let rows: Vec<_> = links.links.iter().map(row).collect();
                table(&["ID", "KIND", "FOLDER", "CHAT", "SINCE"], &rows)
            })
        }
        Token::Rotate { id, secret_stdin } => {
            let signing_secret = signing_secret(secret_stdin, output)?;
            let wanted = routd::RotateLink { id, signing_secret };
            let new = routd.call(&routd::ROTATE_LINK, &wanted).await?;
            output.print(&new, |new| {
                format!(
                    "{}\n(give it to the sender; the one before it is good until {})",
                    new.signing_secret, new.previous_until
                )
            })
        }
        Token::Revoke { id } => {
            let answer =
                routd.call(&routd::REVOKE_LINK, &routd::RevokeLink { id: id.clone() }).await?;
            output.print(&answer, |_| format!("the link {id} opens nothing any more"))
        }
    }
}

/// The signing secret on standard input, where one is to be read.
fn signing_secret(read: bool, output: Output) -> Result<Option<String>, Failure> {
    if !read {
        return Ok(None);
    }
    let secret = stdin::secret("the signing secret", output)?;
    let text = secret.text().map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
    Ok(Some(text.to_owned()))
}
