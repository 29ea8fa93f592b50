//! webd, started as it is in production, before a fake routd.

use crate::{
    fake_routd::{FIRST, FakeRoutd},
    wire::Wire,
};
use kit::{
    Context,
    testing::{Rig, Serving, TestAuthority, serve_daemon},
};
use proto::Daemon;
use secrets::testing::ScriptedSource;
use tempfile::TempDir;

pub struct Webd {
    pub routd: FakeRoutd,
    pub wire: Wire,
    pub source: ScriptedSource,
    pub context: Context,
    pub authority: TestAuthority,
    serving: Serving,
    _dir: TempDir,
}

impl Webd {
    pub async fn start() -> Self {
        Self::with(|rig| rig).await
    }

    pub async fn with(more: impl FnOnce(Rig) -> Rig) -> Self {
        let routd = FakeRoutd::new();
        let wire = Wire::to(routd.serve().await).await;
        let source = ScriptedSource::default();
        source.set_silently([("CHANNEL_SECRET", FIRST)]);
        let dir = TempDir::new().unwrap();
        let rig = Rig::new(Daemon::Webd, dir.path())
            .source(&source)
            .setting("ASSISTANT_NAME", "Andy")
            .peer(Daemon::Routd, &format!("http://{}", wire.address));
        let (context, authority) = more(rig).build().await;
        let router = webd::start(context.clone()).await.unwrap();
        let serving = serve_daemon(&context, router).await;
        Self { routd, wire, source, context, authority, serving, _dir: dir }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.serving.url)
    }
}

/// A browser or program, with a cookie jar of its own where `cookie` is kept.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(20))
        .build()
        .unwrap()
}

/// The `name=value` that an answer sets.
pub fn cookie_of(answer: &reqwest::Response) -> Option<String> {
    let cookie = answer.headers().get("set-cookie")?.to_str().unwrap();
    cookie.split(';').next().map(str::to_owned)
}
