//! A real browser: Chromium, driven by its own driver (W3C WebDriver, and Chromium's own commands).

use super::{LIMIT, eventually};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

/// A browser, ended when this is dropped.
pub struct Browser {
    driver: Child,
    http: reqwest::Client,
    at: String,
}

impl Browser {
    /// A browser with a window of this width that prefers this scheme; `None` where there is none to be had.
    pub async fn start(width: u32, is_dark: bool) -> Option<Self> {
        kit::testing::install_crypto();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = command.spawn().ok()?;
        let http = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        let mut browser = Self { driver, http, at: format!("http://127.0.0.1:{port}") };
        browser.answers().await;
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

    async fn answers(&self) {
        let deadline = tokio::time::Instant::now() + LIMIT;
        while self.http.get(format!("{}/status", self.at)).send().await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "chromedriver never answers");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.at));
        let request = if method == "POST" { request.json(&body) } else { request };
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {}", answer["value"]);
        answer["value"].clone()
    }

    /// Opens an address, and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.call("POST", "/url", json!({ "url": url })).await;
    }

    /// Runs a script on the page.
    pub async fn run(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Waits until a script answers with something that is true.
    pub async fn until(&self, what: &str, script: &str) {
        let deadline = tokio::time::Instant::now() + LIMIT;
        while self.run(script).await != Value::Bool(true) {
            assert!(tokio::time::Instant::now() < deadline, "{what}: {}", self.text().await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// What a person reads on the page.
    pub async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Types into the element that a selector finds.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let found = self
            .call("POST", "/element", json!({ "using": "css selector", "value": selector }))
            .await;
        let id = found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.call("POST", &format!("/element/{id}/value"), json!({ "text": text })).await;
    }

    /// What the browser complained about since it was asked last: of policies, of scripts, of what could not be loaded.
    pub async fn complaints(&self) -> Vec<String> {
        let all = self.call("POST", "/se/log", json!({ "type": "browser" })).await;
        let all = all.as_array().unwrap().clone();
        all.iter().map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A picture of the whole page, as PNG.
    pub async fn picture(&self) -> Vec<u8> {
        let size = self
            .run("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]")
            .await;
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
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
        // Asked to end, it takes its browser along; killed, it could not.
        super::signal(self.driver.id(), rustix::process::Signal::TERM);
        eventually("chromedriver ends", || self.driver.try_wait().unwrap());
    }
}
