//! What the edge adds to a request, beside what other proxies add to the same one in the same run.

use crate::{Bench, Failed, client::Client, instance::Instance, say, spread::Spread};
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

/// Requests of each way, one after the other, in turn.
const REQUESTS: u32 = 2_000;
/// Connections that ask at once.
const CONNECTIONS: usize = 32;
/// How long another proxy may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A page that needs a token, asked of webd, through proxyd, and through what else is installed here.
///
/// # Errors
/// A request is refused.
pub async fn edge(bench: &Bench) -> Result<(), Failed> {
    let dir = crate::instance::made(bench).await?;
    // All of it comes from one address, which would be held back.
    let freely = [("PROXYD_RATE", "1000000"), ("PROXYD_BURST", "1000000")];
    let instance = Instance::start_as(bench, dir, &freely, &[]).await?;
    instance.json(&["group", "add", "main"]).await?;
    let path = format!("{}/", instance.chat("main").await?);
    let webd = instance.url("webd").await?;
    let others = [nginx(bench, &webd).await?, caddy(bench, &webd).await?];
    let mut ways = vec![("webd itself", webd.clone()), ("through proxyd", instance.edge.clone())];
    ways.extend(others.iter().flatten().map(|other| (other.name, other.url.clone())));

    let mut took: Vec<Spread> = ways.iter().map(|_| Spread::default()).collect();
    let mut clients = Vec::new();
    for (_, url) in &ways {
        clients.push(Client::open(url).await?);
    }
    for number in 0..REQUESTS + REQUESTS / 10 {
        for (client, took) in clients.iter_mut().zip(&mut took) {
            let sent = Instant::now();
            client.ok("GET", &path, "", String::new()).await?;
            if number >= REQUESTS / 10 {
                took.add(sent.elapsed());
            }
        }
    }
    let mut words = Vec::new();
    for ((name, url), took) in ways.iter().zip(&mut took) {
        let rate = many(url, &path, bench.span / 2).await?;
        words.push(format!(
            "{name} p50 {:.1?}, p99 {:.1?}, {rate:.0} a second over {CONNECTIONS} connections",
            took.percentile(50),
            took.percentile(99)
        ));
    }
    say("edge", &format!("a chat's page, by a token: {}", words.join("; ")));
    Ok(())
}

/// Requests a second over many connections.
async fn many(url: &str, path: &str, span: Duration) -> Result<f64, Failed> {
    let started = Instant::now();
    let asking: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (url, path) = (url.to_owned(), path.to_owned());
            tokio::spawn(async move {
                let mut client = Client::open(&url).await?;
                let mut count = 0_u32;
                while started.elapsed() < span {
                    client.ok("GET", &path, "", String::new()).await?;
                    count += 1;
                }
                Ok::<_, Failed>(count)
            })
        })
        .collect();
    let mut all = 0.0;
    for one in asking {
        all += f64::from(one.await??);
    }
    Ok(all / started.elapsed().as_secs_f64())
}

/// Another proxy in front of webd. It ends when this is dropped.
struct Other {
    name: &'static str,
    url: String,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Other {
    /// Asks it to end: one that is killed leaves its workers behind.
    fn drop(&mut self) {
        if let Some(pid) = self.process.id() {
            // Where it has ended by itself there is nothing to do.
            std::process::Command::new("kill").args(["-TERM", &pid.to_string()]).status().ok();
        }
    }
}

async fn nginx(bench: &Bench, webd: &str) -> Result<Option<Other>, Failed> {
    let dir = tempfile::tempdir_in(&bench.on)?;
    let (at, port) = (dir.path().display(), free_port()?);
    let host = webd.trim_start_matches("http://").trim_end_matches('/');
    let text = format!(
        "daemon off;\nworker_processes auto;\npid {at}/pid;\nerror_log {at}/log;\nevents {{}}\nhttp {{\n\
         access_log off;\nclient_body_temp_path {at}/b;\nproxy_temp_path {at}/p;\nfastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u;\nscgi_temp_path {at}/s;\nkeepalive_requests 100000000;\n\
         upstream w {{ server {host}; keepalive 64; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{port};\nlocation / {{ proxy_pass http://w; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host {host}; }} }} }}\n"
    );
    let file = dir.path().join("nginx.conf");
    fs::write(&file, text)?;
    started("through nginx", "nginx", &["-c", &file.to_string_lossy()], port, dir).await
}

async fn caddy(bench: &Bench, webd: &str) -> Result<Option<Other>, Failed> {
    let dir = tempfile::tempdir_in(&bench.on)?;
    let port = free_port()?;
    let host = webd.trim_start_matches("http://").trim_end_matches('/');
    let text = format!(
        "{{\n\tadmin off\n\tauto_https off\n}}\nhttp://127.0.0.1:{port} {{\n\treverse_proxy {host}\n}}\n"
    );
    let file = dir.path().join("Caddyfile");
    fs::write(&file, text)?;
    let asked = ["run", "--adapter", "caddyfile", "--config", &file.to_string_lossy()];
    started("through Caddy", "caddy", &asked, port, dir).await
}

/// Starts what is installed; `None` where it is not.
async fn started(
    name: &'static str,
    program: &str,
    asked: &[&str],
    port: u16,
    dir: tempfile::TempDir,
) -> Result<Option<Other>, Failed> {
    let Some(program) = installed(program) else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(asked).env("HOME", dir.path()).env("XDG_DATA_HOME", dir.path());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let process = command.spawn()?;
    let url = format!("http://127.0.0.1:{port}");
    let other = Other { name, url, process, _dir: dir };
    let since = Instant::now();
    while Client::open(&other.url).await.is_err() {
        if since.elapsed() > PATIENCE {
            return Err(format!("{name}: it does not listen").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Some(other))
}

fn installed(program: &str) -> Option<std::path::PathBuf> {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/bin"];
    places.iter().map(|place| Path::new(place).join(program)).find(|path| path.exists())
}

fn free_port() -> Result<u16, Failed> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
