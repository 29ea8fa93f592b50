//! `arizuko tenant-secret`: sealed secrets of folders and persons.

use super::stdin;
use crate::{
    cli::TenantSecret,
    failure::{Exit, Failure},
    instance::Instance,
    output::{Output, table},
    session::Session,
};
use proto::{
    Daemon, Nothing,
    routd::{self, Owner},
};

pub(super) async fn run(
    instance: &Instance,
    command: TenantSecret,
    output: Output,
) -> Result<(), Failure> {
    match command {
        TenantSecret::Set { owner, name, url, header } => {
            let owner = owner.owner()?;
            let value = stdin::secret(&format!("the value of {name}"), output)?;
            let value =
                value.text().map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
            let wanted =
                routd::SetTenantSecret { owner, name, value: value.to_owned(), url, header };
            let routd = Session::begin(instance).await?.peer(Daemon::Routd);
            let stored = routd.call(&routd::SET_TENANT_SECRET, &wanted).await?;
            output.print(&stored, |stored| {
                let place = stored.url.as_deref().unwrap_or("the model");
                format!(
                    "{} of {} is stored ({}); it goes to {place} and nowhere else",
                    stored.name, stored.owner, stored.id
                )
            })
        }
        TenantSecret::List => {
            let routd = Session::begin(instance).await?.peer(Daemon::Routd);
            let listed = routd.call(&routd::LIST_TENANT_SECRETS, &Nothing {}).await?;
            output.print(&listed, |listed| {
                let row = |secret: &routd::TenantSecret| {
                    let used = secret.used_at.map_or("never".into(), |at| at.to_string());
                    let place = secret.url.clone().unwrap_or_else(|| "the model".into());
                    vec![
                        secret.id.to_string(),
                        secret.owner.to_string(),
                        secret.name.clone(),
                        place,
                        secret.set_at.to_string(),
                        used,
                    ]
                };
                let rows: Vec<_> = listed.secrets.iter().map(row).collect();
                table(&["ID", "OWNER", "NAME", "GOES TO", "SET", "USED"], &rows)
            })
        }
        TenantSecret::Rm { id } => {
            let routd = Session::begin(instance).await?.peer(Daemon::Routd);
            let wanted = routd::RemoveTenantSecret { id: id.clone() };
            let answer = routd.call(&routd::REMOVE_TENANT_SECRET, &wanted).await?;
            output.print(&answer, |_| format!("the secret {id} is removed"))
        }
    }
}

impl crate::cli::OwnerArg {
    fn owner(self) -> Result<Owner, Failure> {
        match (self.folder, self.person) {
            (Some(folder), _) => Ok(Owner::Folder(folder)),
            (None, Some(address)) => format!("person:{address}")
                .parse()
                .map_err(|error| Failure::new(Exit::Usage, format!("--person: {error}"))),
            (None, None) => Err(Failure::new(
                Exit::Usage,
                "say whose secret it is: --folder NAME or --person ADDRESS",
            )),
        }
    }
}
