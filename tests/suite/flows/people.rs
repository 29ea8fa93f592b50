//! From a stranger to somebody with a folder, and a rotation, as people see it: in real browsers, through the edge, with a
//! provider that others wrote.
//!
//! `DASHBOARD_IMAGES`, a directory, keeps the pictures of `docs/dashboard.md`.

use crate::harness::{Browser, MessagesApi, Says, Suite, eventually};
use std::{fs, path::PathBuf};
use stores::provider::Provider;

/// The widths and schemes that every page has to look right at.
const LOOKS: [(u32, bool); 6] =
    [(360, false), (768, false), (1280, false), (360, true), (768, true), (1280, true)];

/// The height of a picture.
const PICTURE: u64 = 860;

/// Looks at the page at every width and in each scheme; leaves it wide and light.
async fn looks_right(browser: &Browser, what: &str) {
    for (width, is_dark) in LOOKS {
        browser.look(width, is_dark).await;
        let faults = browser.faults().await;
        assert!(faults.is_empty(), "{what}, {width} wide, dark: {is_dark}: {faults:#?}");
    }
    browser.look(1280, false).await;
}

/// The pictures of the documentation, where they are wanted.
struct Album(Option<PathBuf>);

impl Album {
    fn open() -> Self {
        Self(std::env::var_os("DASHBOARD_IMAGES").map(PathBuf::from))
    }

    async fn keep(&self, browser: &Browser, name: &str, look: (u32, bool)) {
        let Some(dir) = &self.0 else { return };
        browser.look(look.0, look.1).await;
        fs::create_dir_all(dir).unwrap();
        let picture = browser.picture_of(PICTURE).await;
        fs::write(dir.join(format!("{name}.png")), picture).unwrap();
        browser.look(1280, false).await;
    }
}

/// The newest address with this in it, among the links of the page, once there is one.
async fn link_of(browser: &Browser, part: &str) -> String {
    let script = format!(
        "return [...document.links].map((a) => a.href).filter((h) => h.includes('{part}')).pop() ?? null"
    );
    browser.ask(&format!("a link with {part}"), &script).await.as_str().unwrap().to_owned()
}

/// What the model takes for its key.
const MODEL_KEY: &str = "the-key-of-the-model";

/// Greets whoever comes to the web chat, and lets them log in by the provider; agents with a model ask `model`.
fn start(suite: &mut Suite, provider: &Provider, model: &MessagesApi) {
    let host = suite.edge().strip_prefix("http://").unwrap().to_owned();
    suite
        .edit_dotenv(&[("OIDC_CLIENT_SECRET", &provider.secret), ("ANTHROPIC_API_KEY", MODEL_KEY)]);
    for (name, value) in [
        ("ANTHROPIC_BASE_URL", model.url()),
        ("WEB_HOST", host.as_str()),
        ("WEB_GUESTS", "true"),
        ("ONBOARDING_POLICY", "greet"),
        ("OIDC_ISSUER", &provider.issuer()),
        ("OIDC_CLIENT_ID", &provider.client),
        ("OIDC_SCOPES", "openid email groups"),
        ("OIDC_ALLOWED_GROUPS", "staff"),
    ] {
        suite.set(name, value);
    }
    suite.start_apart();
}

/// Logs the operator in, by the one-time link.
async fn operator(suite: &Suite) -> Option<Browser> {
    let browser = Browser::start(1280, false).await?;
    let url = suite.json(&["login"])["url"].as_str().unwrap().to_owned();
    browser.open(&url).await;
    looks_right(&browser, "the page of a one-time link").await;
    browser.press("form button").await;
    browser.reads("operator:local").await;
    Some(browser)
}

async fn write(browser: &Browser, text: &str) {
    browser.type_into("#write", text).await;
    browser.press(".send").await;
}

/// A stranger writes in the web chat, and gets a pairing link: the address of the chat, and the link.
async fn stranger_writes(browser: &Browser, edge: &str, album: &Album) -> (String, String) {
    browser.open(&format!("{edge}/chat/new")).await;
    looks_right(browser, "the chat of a guest").await;
    write(browser, "Hello, may I come in?").await;
    browser.reads("Open this link within ten minutes").await;
    looks_right(browser, "the greeting").await;
    album.keep(browser, "people-greeting", (1280, false)).await;
    (browser.address().await, link_of(browser, "/pair/").await)
}

/// Opens the link, logs in by the provider, and presses the button.
async fn pairs(browser: &Browser, edge: &str, link: &str, provider: &Provider, album: &Album) {
    browser.open(link).await;
    browser.reads("Log in first").await;
    looks_right(browser, "the page of a link, before the login").await;
    browser.press("a.button").await;
    browser.reads("Log in with your organisation").await;
    looks_right(browser, "the way to the provider").await;
    browser.press("a.button.primary").await;
    // The provider has no page of its own here: what its page would do is done by its own endpoints.
    let asked = browser.leads_to("/authorize?").await;
    let answer = provider.answer("bob", &asked).await;
    browser.open(&format!("{edge}/auth/callback/oidc?{answer}")).await;
    browser.reads("Is this chat yours?").await;
    looks_right(browser, "the page of a link, after the login").await;
    album.keep(browser, "people-pairing", (1280, false)).await;
    browser.press("form button").await;
    browser.reads("1 of 1 in the queue").await;
    looks_right(browser, "the place in the queue").await;
    album.keep(browser, "people-queue", (1280, false)).await;
}

/// The operator, with the queue open all the while, lets them in.
async fn lets_in(operator: &Browser, album: &Album) {
    operator.reads("Hello, may I come in?").await;
    let same = operator.run("return window.sameDocument === true").await;
    assert_eq!(same, true, "the newcomer appears without a reload");
    looks_right(operator, "the queue").await;
    album.keep(operator, "dashboard-newcomers", (1280, false)).await;
    operator.press("td a[href*='/dash/newcomers/one']").await;
    operator.reads("They have logged in").await;
    looks_right(operator, "one newcomer").await;
    album.keep(operator, "dashboard-newcomer", (1280, false)).await;
    operator.type_into("#note", "Welcome, Bob.").await;
    operator.press("form.fields button").await;
    operator.reads("They are let in.").await;
}

/// The person has a folder, and asks the agent for a daily message.
async fn asks_for_a_schedule(browser: &Browser, suite: &Suite, chat: &str, album: &Album) {
    browser.open(chat).await;
    browser.reads("You are in: this chat is yours").await;
    write(browser, "every day say Good morning").await;
    browser.reads("Scheduled").await;
    looks_right(browser, "the chat with its agent").await;
    album.keep(browser, "people-chat", (1280, false)).await;
    let made = suite.json(&["task", "list"])["schedules"].as_array().unwrap().clone();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(made[0]["when"], "every 1d", "{made:?}");
    assert_eq!(made[0]["content"], "Good morning", "{made:?}");
}

/// The person sees the schedule as theirs, and its run, here and in the chat.
async fn sees_its_run(browser: &Browser, edge: &str, chat: &str, album: &Album) {
    browser.open(&format!("{edge}/dash/")).await;
    browser.reads("These folders are yours").await;
    looks_right(browser, "the dashboard of a person").await;
    album.keep(browser, "dashboard-person", (1280, false)).await;
    browser.open(&format!("{edge}/dash/schedules")).await;
    browser.press("td a[href*='/dash/schedules/one']").await;
    browser.reads("every 1d").await;
    browser.press("form:has(input[value=run]) button").await;
    browser.reads("fired by hand").await;
    looks_right(browser, "a schedule").await;
    album.keep(browser, "dashboard-schedule", (1280, false)).await;
    browser.open(chat).await;
    browser.reads("You said: Good morning").await;
    for path in ["secrets", "runs", "newcomers", "audit"] {
        browser.open(&format!("{edge}/dash/{path}")).await;
        browser.reads("Not allowed").await;
    }
}

/// How many daemons have the secret, how many of them accept two values, and how many different ones there are.
const HOLDERS: &str = "\
    const table = [...document.querySelectorAll('section.secret')]
      .find((one) => one.querySelector('h2').innerText === 'CHANNEL_SECRET');
    if (!table) return null;
    const rows = [...table.querySelectorAll('tbody tr')];
    const text = (row, head) => row.querySelector(`td[data-head=${head}]`).innerText.trim();
    const both = rows.filter((row) => text(row, 'State').includes('both accepted')).length;
    const values = new Set(rows.map((row) => text(row, 'Fingerprint'))).size;
    return `${rows.length} with it, ${both} of them with two, ${values} different`";

/// Waits until the page says this of those who have the secret.
async fn shows(operator: &Browser, holders: &str) {
    let script = format!("return (() => {{ {HOLDERS} }})() === '{holders}'");
    operator.until(holders, &script).await;
}

/// `CHANNEL_SECRET` changes, and the open page shows every daemon take it.
async fn watches_a_rotation(operator: &Browser, suite: &Suite, album: &Album) {
    operator.open(&format!("{}/dash/secrets", suite.edge())).await;
    operator.run("window.sameDocument = true").await;
    // routd and webd: nothing else of this instance speaks for chats.
    shows(operator, "2 with it, 0 of them with two, 1 different").await;
    let before = suite.dotenv("CHANNEL_SECRET");
    suite.ok(&["secrets", "rotate", "CHANNEL_SECRET"]);
    shows(operator, "2 with it, 2 of them with two, 1 different").await;
    let same = operator.run("return window.sameDocument === true").await;
    assert_eq!(same, true, "without a reload");
    looks_right(operator, "the secrets").await;
    album.keep(operator, "dashboard-secrets", (1280, false)).await;
    let page = operator.run("return document.documentElement.outerHTML").await;
    let page = page.as_str().unwrap();
    for value in [before, suite.dotenv("CHANNEL_SECRET"), suite.dotenv("OIDC_CLIENT_SECRET")] {
        assert!(!page.contains(&value), "a value is on the page");
    }
}

/// What the operator says of an agent.
const PERSONA: &str =
    "You are the secretary of a sailing club. You answer in two sentences at most.";

/// The operator says who the agent of a folder is, and it is told so with its next turn; what that costs is counted.
async fn says_who_an_agent_is(
    operator: &Browser,
    suite: &Suite,
    model: &MessagesApi,
    album: &Album,
) {
    suite.ok(&["group", "add", "club", "--harness", "builtin", "--model", "claude-sonnet-5-5"]);
    suite.ok(&["usage", "cap", "club", "--daily", "1"]);
    operator.open(&format!("{}/dash/folders/one?folder=club", suite.edge())).await;
    operator.reads("Nothing is said of that.").await;
    operator.press("details:has(#persona) summary").await;
    operator.type_into("#persona", PERSONA).await;
    looks_right(operator, "the form of a persona").await;
    operator.press("form:has(#persona) button").await;
    operator.reads("It is saved.").await;
    operator.reads(PERSONA).await;
    for (name, look) in [("", (1280, false)), ("-dark", (1280, true)), ("-phone", (360, false))] {
        album.keep(operator, &format!("dashboard-persona{name}"), look).await;
    }
    assert_eq!(suite.ok(&["ask", "--folder", "club", "When do we sail?"]).trim(), "On Sunday.");
    let asked = model.asked();
    let system = asked[0].body["system"].to_string();
    assert!(asked.len() == 1 && system.contains(PERSONA), "{system}");
}

/// A call of the person's agent waits for somebody, and the operator approves it.
async fn approves_a_call(operator: &Browser, suite: &Suite, folder: &str, album: &Album) {
    suite.ok(&["acl", "grant", &format!("folder:{folder}"), "mcp:send", folder, "--hold"]);
    let send = format!("send web:{folder}~board The boat leaves at nine.");
    let said = suite.ok(&["ask", "--folder", folder, &send]);
    assert!(said.contains("Not made yet"), "{said}");
    operator.open(&format!("{}/dash/approvals", suite.edge())).await;
    looks_right(operator, "what waits for a person").await;
    album.keep(operator, "dashboard-approvals", (1280, false)).await;
    album.keep(operator, "dashboard-approvals-phone", (360, false)).await;
    operator.press("td a[href*='/dash/approvals/one']").await;
    operator.reads("The boat leaves at nine.").await;
    looks_right(operator, "a call that waits").await;
    album.keep(operator, "dashboard-approval", (1280, false)).await;
    operator.press("a[href*='/dash/approvals/approve']").await;
    operator.reads("Approve this call?").await;
    looks_right(operator, "the question before an approval").await;
    operator.press("form.fields button").await;
    operator.reads("It is approved, and is done once.").await;
    eventually("the call is made", || {
        let made = suite.json(&["approval", "list", "--state", "done"]);
        (made.as_array().unwrap().len() == 1).then_some(())
    });
}

/// Each page of the dashboard, with something on it.
async fn goes_through_every_page(operator: &Browser, suite: &Suite, folder: &str, album: &Album) {
    let below = |href: String| href.split("/dash/").nth(1).unwrap().to_owned();
    operator.open(&format!("{}/dash/runs", suite.edge())).await;
    let run = below(link_of(operator, "/runs/one").await);
    operator.open(&format!("{}/dash/messages", suite.edge())).await;
    let trace = below(link_of(operator, "/trace").await);
    let of_folder = format!("folders/one?folder={folder}");
    for (name, page) in [
        ("overview", ""),
        ("secret", "secrets/one?name=CHANNEL_SECRET"),
        ("services", "services"),
        ("figures", "services/figures?daemon=routd"),
        ("chats", "chats"),
        ("messages", "messages"),
        ("trace", &trace),
        ("turns", "turns"),
        ("outbox", "outbox"),
        ("runs", "runs"),
        ("run", &run),
        ("schedules", "schedules"),
        ("folders", "folders"),
        ("folder", &of_folder),
        ("approved", "approvals?state=done"),
        ("routes", "routes?jid=telegram:group/7"),
        ("access", "access?who=folder:main&what=admin&folder=main"),
        ("links", "links"),
        ("people", "people"),
        ("invites", "invites"),
        ("gates", "gates"),
        ("logins", "sessions"),
        ("usage", "usage?by=folder"),
        ("audit", "audit"),
        ("audit-verify", "audit/verify"),
    ] {
        operator.open(&format!("{}/dash/{page}", suite.edge())).await;
        looks_right(operator, page).await;
        album.keep(operator, &format!("dashboard-{name}"), (1280, false)).await;
        if ["overview", "folder", "usage", "audit", "logins"].contains(&name) {
            album.keep(operator, &format!("dashboard-{name}-dark"), (1280, true)).await;
            album.keep(operator, &format!("dashboard-{name}-phone"), (360, false)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "mended, and not yet seen to end six times: tests/run --long"]
async fn a_stranger_comes_in_and_a_secret_changes_before_everybodys_eyes() {
    kit::testing::install_crypto();
    let Some(person) = Browser::start(1280, false).await else { return };
    let mut suite = Suite::made();
    let (edge, album) = (suite.edge(), Album::open());
    let back = format!("{edge}/auth/callback/oidc");
    let Some(provider) = Provider::start(&back).await else { return };
    let model = MessagesApi::begin(vec![Says::Text("On Sunday.")]).await;
    model.accept(MODEL_KEY);
    model.release(1);
    start(&mut suite, &provider, &model);
    let Some(operator) = operator(&suite).await else { return };
    operator.open(&format!("{edge}/dash/newcomers")).await;
    operator.reads("Nobody waits.").await;
    operator.run("window.sameDocument = true").await;

    let (chat, link) = stranger_writes(&person, &edge, &album).await;
    pairs(&person, &edge, &link, &provider, &album).await;
    lets_in(&operator, &album).await;
    asks_for_a_schedule(&person, &suite, &chat, &album).await;
    sees_its_run(&person, &edge, &chat, &album).await;
    watches_a_rotation(&operator, &suite, &album).await;
    let people = suite.json(&["people"]);
    let folder = people["people"][0]["folder"].as_str().unwrap().to_owned();
    says_who_an_agent_is(&operator, &suite, &model, &album).await;
    approves_a_call(&operator, &suite, &folder, &album).await;
    goes_through_every_page(&operator, &suite, &folder, &album).await;

    // One came in, by one link, and nobody else did.
    assert_eq!(people["people"].as_array().unwrap().len(), 1, "{people}");
    operator.open(&link).await;
    operator.reads("This link has been used").await;
    person.open(&format!("{edge}/chat/new")).await;
    assert_ne!(person.address().await, chat, "another guest's chat is another");
    let text = person.text().await;
    assert!(!text.contains("Good morning"), "{text}");
    for browser in [&person, &operator] {
        let complaints = browser.complaints().await;
        let ours = |line: &&String| line.contains(&edge) && !line.contains("status of 4");
        let ours: Vec<&String> = complaints.iter().filter(ours).collect();
        assert!(ours.is_empty(), "{ours:#?}");
    }
    person.end().await;
    operator.end().await;
}
