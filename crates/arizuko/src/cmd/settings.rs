//! `arizuko settings`: the reference, made from the settings themselves.

use crate::{
    daemons::{PROGRAMS, common},
    failure::Failure,
    instance::Instance,
    output::{Output, table},
};
use kit::AnySetting;
use proto::Daemon;
use serde::Serialize;

#[derive(Serialize)]
struct Row {
    name: String,
    value: String,
    from: &'static str,
    default: String,
    expects: &'static str,
    about: String,
    read_by: Vec<&'static str>,
}

pub(super) fn run(instance: &Instance, markdown: bool, output: Output) -> Result<(), Failure> {
    let rows = rows(instance);
    if markdown {
        return output.line(&reference(&rows));
    }
    output.print(&rows, |rows| {
        let row = |row: &Row| {
            vec![row.name.clone(), row.value.clone(), row.from.into(), row.about.clone()]
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        table(&["SETTING", "VALUE", "FROM", "WHAT IT IS FOR"], &rows)
    })
}

fn rows(instance: &Instance) -> Vec<Row> {
    let mut rows: Vec<Row> = common().map(|setting| row(instance, *setting, "arizuko")).collect();
    for program in PROGRAMS {
        for setting in program.settings {
            let reader = program.daemon.name();
            match rows.iter_mut().find(|row| row.name == setting.name()) {
                Some(known) => known.read_by.push(reader),
                None => rows.push(row(instance, *setting, reader)),
            }
        }
    }
    for daemon in PROGRAMS.iter().map(|program| program.daemon) {
        rows.push(url_row(instance, daemon));
        rows.push(listen_row(instance, daemon));
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

fn row(instance: &Instance, setting: &dyn AnySetting, reader: &'static str) -> Row {
    let (value, place) = instance.settings.raw(setting.name(), setting.default());
    Row {
        name: setting.name().into(),
        value,
        from: place.name(),
        default: setting.default().into(),
        expects: setting.expects(),
        about: setting.about().into(),
        read_by: vec![reader],
    }
}

fn url_row(instance: &Instance, daemon: Daemon) -> Row {
    let (value, place) = instance.settings.raw(daemon.url_setting(), "");
    Row {
        name: daemon.url_setting().into(),
        value,
        from: place.name(),
        default: format!("http://127.0.0.1:{}", crate::daemons::port(daemon)),
        expects: "an address such as http://127.0.0.1:8080",
        about: format!("Where the others reach {daemon}."),
        read_by: vec!["arizuko"],
    }
}

fn listen_row(instance: &Instance, daemon: Daemon) -> Row {
    let name = format!("{}_LISTEN_ADDR", daemon.name().to_uppercase());
    let (value, place) = instance.settings.raw(&name, "");
    Row {
        name,
        value,
        from: place.name(),
        default: format!("127.0.0.1:{}", daemon.default_port()),
        expects: "an address such as :8081 or 127.0.0.1:8081",
        about: format!("Where {daemon} listens in `arizuko up`."),
        read_by: vec!["arizuko"],
    }
}

/// The reference as it stands in `docs/reference/settings.md`.
fn reference(rows: &[Row]) -> String {
    let mut text = String::from(
        "# Settings\n\nMade by `arizuko settings --markdown`. Set them in the environment, in a ConfigMap, or in \
         `settings.env` in the data directory; the environment wins. None of them is a secret.\n\n\
         | setting | default | what it is for | expected | read by |\n| --- | --- | --- | --- | --- |\n",
    );
    for row in rows {
        let default =
            if row.default.is_empty() { "not set".into() } else { format!("`{}`", row.default) };
        text.push_str(&format!(
            "| `{}` | {default} | {} | {} | {} |\n",
            row.name,
            row.about,
            row.expects,
            row.read_by.join(", ")
        ));
    }
    text
}
