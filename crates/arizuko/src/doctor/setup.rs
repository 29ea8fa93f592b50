//! What an operator set: settings, secrets, and what of it is unsafe.

use super::Finding;
use crate::{
    check,
    daemons::{self, PROGRAMS},
    failure::Exit,
    instance::{Environment, Instance, SETTINGS_FILE},
    sources,
};
use proxyd::PROXYD_TLS_ADDR;
use secrets::Name;

/// Days before its end from which a certificate should have been renewed.
const SOON: i64 = 14;

pub(super) fn settings(instance: &Instance) -> Vec<Finding> {
    let file = instance.dir.join(SETTINGS_FILE).display().to_string();
    let mut found = Vec::new();
    let all: Vec<_> = PROGRAMS.iter().collect();
    if let Err(error) = daemons::check_settings(&instance.settings, &all) {
        let next = "correct it there; `arizuko settings` lists every setting";
        found.push(Finding::problem(
            "settings",
            Exit::Config,
            file.clone(),
            error.to_string(),
            next,
        ));
    }
    for name in daemons::unknown_settings(&instance.settings) {
        let what = format!("it sets {name}, which nothing reads");
        let next = "correct its name, or remove it; `arizuko settings` lists what is read";
        found.push(Finding::advice("settings", file.clone(), what, next));
    }
    found.extend(exposed(instance));
    if found.is_empty() {
        found.push(Finding::good("settings", file, "every one parses, and none is unsafe"));
    }
    found
}

/// Settings that let in more than most people mean.
fn exposed(instance: &Instance) -> Vec<Finding> {
    let raw = |name: &str| instance.settings.raw(name, "").0;
    let mut found = Vec::new();
    let believed = raw("TRUSTED_PROXIES");
    if believed.split(',').any(|one| one.trim().ends_with("/0")) {
        let what =
            format!("TRUSTED_PROXIES is {believed}: anybody can say that they are somebody else");
        let next = "name the addresses of your own proxies alone";
        found.push(Finding::problem("exposure", Exit::Config, "TRUSTED_PROXIES", what, next));
    }
    let edge = raw("PROXYD_LISTEN_ADDR");
    let is_public =
        !edge.is_empty() && !["127.", "[::1]", "localhost"].iter().any(|at| edge.starts_with(at));
    if is_public && believed.is_empty() && raw("PROXYD_HTTPS_REDIRECT") != "true" {
        let what = format!("the edge serves plain HTTP at {edge}, and no proxy before it is named");
        let next = format!(
            "give it a certificate (PROXYD_TLS_CERT, PROXYD_TLS_KEY; served at {}) and set PROXYD_HTTPS_REDIRECT=true, or put a proxy with TLS before it and name it in TRUSTED_PROXIES",
            PROXYD_TLS_ADDR.default
        );
        found.push(Finding::advice("exposure", "PROXYD_LISTEN_ADDR", what, next));
    }
    let name = daemons::PROXYD_ADMIN_ADDR.name;
    let at = raw(name);
    if at.starts_with(':') || at.starts_with("0.0.0.0") {
        let what = format!("{name} is {at}: the edge's figures are served to every network");
        let next = "let it listen on 127.0.0.1, or on the network of your monitoring alone";
        found.push(Finding::advice("exposure", name, what, next));
    }
    found
}

/// Every source of secrets, read as each daemon would.
pub(super) async fn secrets(instance: &Instance, environment: &Environment) -> Vec<Finding> {
    let report = match check::report(instance, environment).await {
        Ok(report) => report,
        Err(failure) => {
            let next = "correct SECRETS_SOURCES; `arizuko secrets check` shows what it comes to";
            return vec![Finding::problem(
                "secrets",
                Exit::Config,
                "SECRETS_SOURCES",
                failure.line,
                next,
            )];
        }
    };
    let mut found = Vec::new();
    for one in &report.findings {
        let Some(problem) = &one.problem else { continue };
        let place = format!("{} of {}", one.names, one.daemon);
        let next = "put a good value where it says; `arizuko secrets check` shows all, `arizuko secrets set NAME` and `arizuko secrets init` write where that can be done";
        found.push(Finding::problem("secrets", Exit::Config, place, problem.clone(), next));
    }
    let of_environment = report.findings.iter().filter(|one| one.found.ends_with("(env)"));
    let each = of_environment.flat_map(|one| one.names.split(", "));
    // What `NAME_FILE` names is a file, which is watched.
    let mut names: Vec<&str> = each.filter(|name| environment.contains_key(*name)).collect();
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        let what = format!(
            "{} stand in the environment, and never change while a daemon runs",
            names.join(", ")
        );
        let next =
            "mount them as files (a directory, or NAME_FILE), so that a rotation needs no restart";
        found.push(Finding::advice("secrets", "env:", what, next));
    }
    if !found.iter().any(|one| one.level == super::Level::Problem) {
        let what = format!("{} bundles read as each daemon would", report.findings.len());
        found.push(Finding::good("secrets", report.sources.join(", "), what));
    }
    found
}

/// How long the edge's certificate is good, where there is one.
pub(super) async fn certificate(instance: &Instance, environment: &Environment) -> Option<Finding> {
    const CERT: Name = Name::literal("PROXYD_TLS_CERT");
    // That it cannot be read was said with the secrets.
    let found = sources::find(instance, environment, [CERT]).await.ok()?.remove(&CERT)?;
    let ends = proxyd::certificate_ends(found.current.ok()?.expose())?;
    let left = ends - kit::Clock::real().now().0.div_euclid(1000);
    let place = format!("{CERT}, from {}", found.source.place());
    let next = "renew it, and replace both parts: `arizuko secrets set PROXYD_TLS_CERT < chain.pem`, then PROXYD_TLS_KEY; whatever renews it by itself should have by now";
    Some(match left.div_euclid(24 * 3600) {
        days @ ..0 => {
            let what = format!("it ended {} days ago: clients refuse it", days.unsigned_abs());
            Finding::problem("certificate", Exit::Config, place, what, next)
        }
        days @ ..SOON => {
            Finding::advice("certificate", place, format!("it ends in {days} days"), next)
        }
        days => Finding::good("certificate", place, format!("good for {days} days")),
    })
}
