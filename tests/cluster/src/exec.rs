//! A command in a container, over a WebSocket, as the API has it: the subprotocols `v5.channel.k8s.io` and
//! `v4.channel.k8s.io` (k8s.io/apimachinery/pkg/util/remotecommand). The first byte of a message is its channel.

use crate::kubelet::Image;
use crate::runtime::Recipe;
use crate::store::{Key, status};
use crate::{Shared, lock};
use futures::{SinkExt, StreamExt};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

const OUT: u8 = 1;
const ERRORS: u8 = 2;
const STATUS: u8 = 3;

/// A command that was asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub words: Vec<String>,
    pub container: String,
}

/// The container that is meant, if the command can be run there; else the refusal.
pub fn found(shared: &Shared, key: &Key, asked: &Asked) -> Result<(Recipe, Image), Value> {
    let not_found = || status(404, "NotFound", &format!("pods \"{}\" not found", key.name));
    let pod = shared.store.get(key).ok_or_else(not_found)?;
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let name = match asked.container.as_str() {
        "" => containers[0]["name"].as_str().unwrap_or_default().to_owned(),
        name => name.to_owned(),
    };
    if !containers.iter().any(|container| container["name"] == *name) {
        let message = format!("container {name} is not valid for pod {}", key.name);
        return Err(status(400, "BadRequest", &message));
    }
    let known = lock(&shared.containers).get(&(uid, name.clone())).cloned();
    let unborn = format!("unable to upgrade connection: container not found (\"{name}\")");
    known.ok_or_else(|| status(500, "InternalError", &unborn))
}

/// The headers of the answer that changes the protocol. None where the client does not ask for that.
pub fn switched(headers: &HeaderMap) -> Option<HeaderMap> {
    let key = headers.get("sec-websocket-key")?;
    let offered = headers.get("sec-websocket-protocol")?.to_str().ok()?;
    let protocol = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
    let protocol =
        protocol.into_iter().find(|ours| offered.split(',').any(|of| of.trim() == *ours))?;
    let mut answer = HeaderMap::new();
    answer.insert("upgrade", HeaderValue::from_static("websocket"));
    answer.insert("connection", HeaderValue::from_static("Upgrade"));
    answer.insert("sec-websocket-accept", derive_accept_key(key.as_bytes()).parse().ok()?);
    answer.insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
    Some(answer)
}

/// Runs the command, and says what it says.
pub async fn run(upgrade: OnUpgrade, recipe: Recipe, image: Image, words: Vec<String>) {
    let Ok(upgraded) = upgrade.await else { return };
    let stream = TokioIo::new(upgraded);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let (mut say, mut hear) = socket.split();
    let ended = match crate::runtime::command(&image, &recipe, &words) {
        Err(error) => {
            let message = format!(
                "OCI runtime exec failed: exec failed: unable to start container process: {error}"
            );
            status(500, "InternalError", &message)
        }
        Ok(mut command) => {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true);
            let mut child = command.spawn().unwrap();
            let (mut out, mut errors) =
                (child.stdout.take().unwrap(), child.stderr.take().unwrap());
            let (mut one, mut other) = ([0; 8192], [0; 8192]);
            let (mut out_open, mut errors_open) = (true, true);
            while out_open || errors_open {
                let (channel, read) = tokio::select! {
                    read = out.read(&mut one), if out_open => (OUT, read.unwrap_or(0)),
                    read = errors.read(&mut other), if errors_open => (ERRORS, read.unwrap_or(0)),
                    // Whoever is gone wants no more of it.
                    heard = hear.next() => match heard {
                        None | Some(Err(_) | Ok(Message::Close(_))) => return,
                        Some(Ok(_)) => continue,
                    },
                };
                let (bytes, open) = match channel {
                    OUT => (&one[..read], &mut out_open),
                    _ => (&other[..read], &mut errors_open),
                };
                *open = read > 0;
                if read > 0
                    && say.send(Message::binary([&[channel][..], bytes].concat())).await.is_err()
                {
                    return;
                }
            }
            of_code(child.wait().await.unwrap().code().unwrap_or(137))
        }
    };
    let ended = [&[STATUS][..], ended.to_string().as_bytes()].concat();
    // The client may have gone.
    let over = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let _gone = say.send(Message::binary(ended)).await.is_err()
        || say.send(Message::Close(Some(over))).await.is_err();
}

fn of_code(code: i32) -> Value {
    if code == 0 {
        return json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    }
    let message = format!("command terminated with non-zero exit code: exit status {code}");
    let mut said = status(500, "NonZeroExitCode", &message);
    said["details"] = json!({"causes": [{"reason": "ExitCode", "message": code.to_string()}]});
    said
}
