//! A real browser: Chromium, driven by its own driver (W3C WebDriver, and Chromium's own commands).

use super::eventually;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};
use tokio::time::Instant;

/// Whether anything of the page sticks out at its right side, or is text whose contrast is below 4.5 to 1 (WCAG 2.2,
/// 1.4.3); what and how much. Nothing while the page is still being loaded.
const FAULTS: &str = r#"
if (document.readyState !== "complete") return null;
const wide = document.documentElement.clientWidth, faults = [];
if (document.documentElement.scrollWidth > wide) faults.push("the page is wider than its window");
const parse = (text) => { const n = text.match(/[\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
const ground = (e) => { for (; e; e = e.parentElement) {
  const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
for (const e of document.querySelectorAll("body *")) {
  const box = e.getBoundingClientRect();
  if (!box.width || !box.height || e.closest(".unseen, .skip, pre, thead") || e.closest("svg")) continue;
  const what = e.outerHTML.slice(0, 100);
  if (box.right > wide + 1) faults.push("sticks out: " + what);
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || getComputedStyle(e).visibility === "hidden") continue;
  const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) faults.push("contrast " + ratio.toFixed(2) + ": " + what);
}
return faults.slice(0, 5);
"#;

/// How long a browser may take to start, and a page to be as it should: machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the driver says of an element with which it has done nothing, and may do it in a moment.
const NOT_DONE: [&str; 3] =
    ["stale element reference", "element click intercepted", "element not interactable"];

/// A browser, ended when this is dropped.
pub struct Browser {
    driver: Child,
    /// Open for as long as the driver may write to it.
    _said: BufReader<ChildStdout>,
    http: reqwest::Client,
    at: String,
}

impl Browser {
    /// A browser with a window of this width that prefers this scheme; `None`, and a line that says so, where there is
    /// none to be had.
    pub async fn start(width: u32, is_dark: bool) -> Option<Self> {
        kit::testing::install_crypto();
        // It takes a free port and says which: one that was found free before it started may be another's by then.
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut driver) = command.spawn() else {
            eprintln!("not verified: there is no chromedriver here");
            return None;
        };
        let mut said = BufReader::new(driver.stdout.take().unwrap());
        let port = port_of(&mut said);
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let mut browser =
            Self { driver, _said: said, http, at: format!("http://127.0.0.1:{port}") };
        let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!is_dark));
        let args =
            ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"];
        let mut args: Vec<Value> = args.map(Value::from).into();
        args.push(scheme.into());
        let device = json!({ "width": width, "height": 800, "pixelRatio": 1, "mobile": false });
        let options = json!({ "args": args, "mobileEmulation": { "deviceMetrics": device } });
        let wanted = json!({
            "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" },
        });
        let made = browser
            .call("POST", "/session", json!({ "capabilities": { "alwaysMatch": wanted } }))
            .await;
        browser.at = format!("{}/session/{}", browser.at, made["sessionId"].as_str().unwrap());
        Some(browser)
    }

    /// Does what the driver's protocol calls `path`, or says what the driver said.
    async fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.at));
        let request = if method == "POST" { request.json(body) } else { request };
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let value = answer["value"].clone();
        if value["error"].is_null() { Ok(value) } else { Err(value) }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        match self.try_call(method, path, &body).await {
            Ok(value) => value,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Does `path` with the element that a selector finds, as soon as it can be done. A page that is being replaced, by
    /// itself or by news, has no such element for a moment, or another than a moment ago.
    async fn on_element(&self, selector: &str, path: &str, body: Value) {
        let wanted = json!({ "using": "css selector", "value": selector });
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match self.try_call("POST", "/element", &wanted).await {
                Ok(found) => {
                    let id = found.as_object().unwrap().values().next().unwrap().as_str().unwrap();
                    let done = self.try_call("POST", &format!("/element/{id}/{path}"), &body).await;
                    let Err(error) = done else { return };
                    // Whatever else went wrong, it may have been done.
                    let kind = error["error"].as_str().unwrap_or_default();
                    assert!(NOT_DONE.contains(&kind), "{selector}, {path}: {error}");
                    error
                }
                Err(error) => error,
            };
            assert!(Instant::now() < deadline, "{selector}, {path}: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What a script that changes nothing says of the page, as soon as it is not `null`. On a page that is being
    /// replaced no script can run.
    pub async fn ask(&self, what: &str, script: &str) -> Value {
        let asked = json!({ "script": script, "args": [] });
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.try_call("POST", "/execute/sync", &asked).await;
            match &said {
                Ok(value) if !value.is_null() => return value.clone(),
                _ => assert!(Instant::now() < deadline, "{what}: {said:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Opens an address, and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.call("POST", "/url", json!({ "url": url })).await;
    }

    /// Runs a script on the page.
    pub async fn run(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Waits until a script that changes nothing answers with `true`.
    pub async fn until(&self, what: &str, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.ask(what, script).await != Value::Bool(true) {
            assert!(Instant::now() < deadline, "{what}: {}", self.text().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Presses what a selector finds, as soon as it is there. The page that it leads to may not be there yet: say what
    /// is to be read there.
    pub async fn press(&self, selector: &str) {
        self.on_element(selector, "click", json!({})).await;
    }

    /// Waits until a person can read a text on the page.
    pub async fn reads(&self, text: &str) {
        let script = format!("return document.body.innerText.includes({})", json!(text));
        self.until(&format!("the page says {text:?}"), &script).await;
    }

    /// Waits until the address of the page has this in it: what was pressed may lead there by way of others.
    pub async fn leads_to(&self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let address = self.address().await;
            if address.contains(part) {
                return address;
            }
            assert!(Instant::now() < deadline, "not at {part}, but at {address}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The address of the page.
    pub async fn address(&self) -> String {
        // Not the document's: one that a server answered with nothing has an address of the browser's own.
        self.call("GET", "/url", Value::Null).await.as_str().unwrap_or_default().to_owned()
    }

    /// Makes the window this wide, and prefers this scheme, on the page as it is.
    pub async fn look(&self, width: u32, is_dark: bool) {
        let metrics = json!({
            "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false,
        });
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        for (cmd, params) in
            [("Emulation.setDeviceMetricsOverride", metrics), ("Emulation.setEmulatedMedia", media)]
        {
            let asked = json!({ "cmd": cmd, "params": params });
            self.call("POST", "/goog/cdp/execute", asked).await;
        }
    }

    /// What of the page sticks out at its side, or cannot be read well.
    pub async fn faults(&self) -> Vec<String> {
        let found = self.ask("what is wrong with the page", FAULTS).await;
        found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    /// What a person reads on the page.
    pub async fn text(&self) -> String {
        let text =
            self.ask("the text of the page", "return document.body?.innerText ?? null").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Types into the element that a selector finds, as soon as it is there.
    pub async fn type_into(&self, selector: &str, text: &str) {
        self.on_element(selector, "value", json!({ "text": text })).await;
    }

    /// What the browser complained about since it was asked last: of policies, of scripts, of what could not be loaded.
    pub async fn complaints(&self) -> Vec<String> {
        let all = self.call("POST", "/se/log", json!({ "type": "browser" })).await;
        let all = all.as_array().unwrap().clone();
        all.iter().map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A picture of the whole page, as PNG.
    pub async fn picture(&self) -> Vec<u8> {
        self.picture_of(u64::MAX).await
    }

    /// A picture of the page's beginning, so many pixels of it.
    pub async fn picture_of(&self, height: u64) -> Vec<u8> {
        let script =
            "const of = document.documentElement; return [of.clientWidth, of.scrollHeight]";
        let size = self.ask("the size of the page", script).await;
        let height = size[1].as_u64().unwrap_or(height).min(height);
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": height, "scale": 1 });
        let params = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let asked = json!({ "cmd": "Page.captureScreenshot", "params": params });
        let shot = self.call("POST", "/goog/cdp/execute", asked).await;
        STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }

    /// Ends the browser with its windows.
    pub async fn end(self) {
        self.call("DELETE", "", Value::Null).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Of a test that failed, too: a driver that is only asked to end leaves its browser behind.
        let host_and_path = self.at.strip_prefix("http://").and_then(|at| at.split_once('/'));
        if let Some((host, path)) = host_and_path
            && let Ok(mut to) = TcpStream::connect(host)
        {
            let head =
                format!("DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let asked = to
                .set_read_timeout(Some(super::LIMIT))
                .and_then(|()| to.write_all(head.as_bytes()));
            // It answers when the browser is gone, or with an error where it went before.
            let _answered = asked.and_then(|()| to.read(&mut [0; 16])).is_ok();
        }
        super::signal(self.driver.id(), rustix::process::Signal::TERM);
        eventually("chromedriver ends", || self.driver.try_wait().unwrap());
    }
}

/// The port that a driver says it has taken.
fn port_of(said: &mut impl BufRead) -> u16 {
    let mut lines = said.lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("started successfully on port "));
    let line = line.expect("chromedriver says on which port it listens");
    line.rsplit(' ').next().unwrap().trim_end_matches('.').parse().unwrap()
}
