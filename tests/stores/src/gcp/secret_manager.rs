//! Secret Manager: secrets and their versions (<https://cloud.google.com/secret-manager/docs/reference/rest>, v1).

use super::{Call, PROJECT, PROJECT_NUMBER, World, refusal, reply};
use axum::response::Response;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const PAYLOAD_MAX: usize = 65_536;

/// A secret.
pub(super) struct Stored {
    created: OffsetDateTime,
    is_regional: bool,
    etag: u64,
    versions: Vec<Version>,
}

struct Version {
    number: u64,
    created: OffsetDateTime,
    state: &'static str,
    payload: Vec<u8>,
    etag: u64,
    is_checked: bool,
}

impl Stored {
    pub(super) fn states(&self) -> Vec<&'static str> {
        self.versions.iter().map(|version| version.state).collect()
    }

    pub(super) fn payload(&self, number: u64) -> Option<Vec<u8>> {
        let version = self.versions.iter().find(|version| version.number == number)?;
        Some(version.payload.clone())
    }
}

/// A name with the project's number, as answers have it.
fn numbered(name: &str) -> String {
    name.replacen(PROJECT, PROJECT_NUMBER, 1)
}

fn moment(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap()
}

impl Version {
    fn describe(&self, secret: &str, call: Option<&Call>) -> Value {
        let alt = call.and_then(|call| call.query.get("$alt"));
        let number = match self.state {
            "ENABLED" => 1,
            "DISABLED" => 2,
            _ => 3,
        };
        let state = match alt {
            Some(alt) if alt.contains("enum-encoding=int") => json!(number),
            _ => json!(self.state),
        };
        let mut described = json!({
            "name": format!("{}/versions/{}", numbered(secret), self.number),
            "createTime": moment(self.created), "state": state,
            "replicationStatus": {"automatic": {}}, "etag": format!("\"{:x}\"", self.etag),
            "clientSpecifiedPayloadChecksum": self.is_checked,
        });
        if self.state == "DESTROYED" {
            described["destroyTime"] = json!(moment(OffsetDateTime::now_utc()));
        }
        described
    }
}

impl World {
    fn create(&mut self, secret: &str) {
        let (etag, is_regional) = (self.next(), secret.contains("/locations/"));
        let created = OffsetDateTime::now_utc();
        let stored = Stored { created, is_regional, etag, versions: Vec::new() };
        self.secrets.insert(secret.to_owned(), stored);
    }

    /// Adds a version to a secret, and makes that where it is not there.
    pub(super) fn add(&mut self, secret: &str, payload: &[u8]) -> u64 {
        if !self.secrets.contains_key(secret) {
            self.create(secret);
        }
        self.push(secret, payload, false)
    }

    fn push(&mut self, secret: &str, payload: &[u8], is_checked: bool) -> u64 {
        let etag = self.next();
        let stored = self.secrets.get_mut(secret).unwrap();
        let number = stored.versions.last().map_or(1, |version| version.number + 1);
        let created = OffsetDateTime::now_utc();
        let (state, payload) = ("ENABLED", payload.to_vec());
        stored.versions.push(Version { number, created, state, payload, etag, is_checked });
        self.tell("SECRET_VERSION_ADD", secret, number);
        number
    }

    pub(super) fn set_state(&mut self, secret: &str, number: u64, state: &'static str) {
        let etag = self.next();
        let stored = self.secrets.get_mut(secret).unwrap();
        let version = stored.versions.iter_mut().find(|version| version.number == number).unwrap();
        (version.state, version.etag) = (state, etag);
        if state == "DESTROYED" {
            version.payload.clear();
        }
        let event = match state {
            "ENABLED" => "SECRET_VERSION_ENABLE",
            "DISABLED" => "SECRET_VERSION_DISABLE",
            _ => "SECRET_VERSION_DESTROY",
        };
        self.tell(event, secret, number);
    }

    /// Publishes a change to the topics of a secret.
    fn tell(&mut self, event: &str, secret: &str, number: u64) {
        let stored = &self.secrets[secret];
        let version = stored.versions.iter().find(|version| version.number == number).unwrap();
        let data = version.describe(secret, None).to_string();
        let attributes = json!({
            "eventType": event, "dataFormat": "JSON_API_V1", "secretId": secret,
            "versionId": format!("{}/versions/{number}", numbered(secret)),
            "timestamp": moment(OffsetDateTime::now_utc()),
        });
        for name in self.subscriptions_of(secret) {
            self.publish(&name, attributes.clone(), &data);
        }
    }

    /// The version `which`, a number or `latest`, whatever state it is in.
    fn find(&self, secret: &str, which: &str) -> Result<&Version, Response> {
        let versions = self.secrets.get(secret).map_or(&[][..], |stored| &stored.versions);
        let found = match which {
            "latest" => {
                let lagging = self.lagging.get(secret);
                let is_it = |version: &&Version| lagging.is_none_or(|at| *at == version.number);
                versions.iter().rev().find(is_it)
            }
            which => versions.iter().find(|version| version.number.to_string() == which),
        };
        found.ok_or_else(|| {
            let name = numbered(secret);
            let text = match which {
                "latest" => format!("Secret [{name}] not found or has no versions."),
                which => format!("Secret Version [{name}/versions/{which}] not found."),
            };
            refusal(404, "NOT_FOUND", &text)
        })
    }
}

fn invalid(text: &str) -> Response {
    refusal(400, "INVALID_ARGUMENT", text)
}

/// One call of the API.
pub(super) fn answer(world: &mut World, call: &Call) -> Result<Response, Response> {
    world.authenticate(call)?;
    if !world.is_enabled {
        let text = format!(
            "Secret Manager API has not been used in project {PROJECT_NUMBER} before or it is disabled."
        );
        let details = json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED",
            "domain": "googleapis.com",
        }]);
        let error = json!({
            "code": 403, "message": text, "status": "PERMISSION_DENIED", "details": details,
        });
        let body = json!({"error": error}).to_string();
        return Err(super::respond(403, "application/json; charset=UTF-8", body));
    }
    let path = call.path.strip_prefix("/v1/").unwrap_or_default();
    let (path, verb) = path.split_once(':').unwrap_or((path, ""));
    let parts: Vec<&str> = path.split('/').collect();
    let (parent, rest) = match parts[..] {
        ["projects", PROJECT | PROJECT_NUMBER, "locations", location, "secrets", ref rest @ ..] => {
            (format!("projects/{PROJECT}/locations/{location}"), rest)
        }
        ["projects", PROJECT | PROJECT_NUMBER, "secrets", ref rest @ ..] => {
            (format!("projects/{PROJECT}"), rest)
        }
        _ => {
            return Err(refusal(
                403,
                "PERMISSION_DENIED",
                "Permission denied on resource project.",
            ));
        }
    };
    let secret = |id: &&str| format!("{parent}/secrets/{id}");
    match (call.method.as_str(), rest, verb) {
        ("POST", [], "") => create(world, call, &parent),
        ("GET", [id], "") => get(world, &secret(id)),
        ("DELETE", [id], "") => delete(world, call, &secret(id)),
        ("POST", [id], "addVersion") => add_version(world, call, &secret(id)),
        ("GET", [id, "versions"], "") => list(world, call, &secret(id)),
        ("GET", [id, "versions", which], "") => {
            world.allow("secretmanager.versions.get", &secret(id))?;
            Ok(reply(&world.find(&secret(id), which)?.describe(&secret(id), Some(call))))
        }
        ("GET", [id, "versions", which], "access") => access(world, &secret(id), which),
        ("POST", [id, "versions", which], verb) => change(world, call, &secret(id), which, verb),
        _ => Err(refusal(404, "NOT_FOUND", "Not found.")),
    }
}

fn create(world: &mut World, call: &Call, parent: &str) -> Result<Response, Response> {
    world.allow("secretmanager.secrets.create", parent)?;
    let id = call.query.get("secretId").map(String::as_str).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.is_empty() || id.len() > 255 || !id.chars().all(plain) {
        return Err(invalid("The provided Secret ID does not match the expected format."));
    }
    let wish: Value = serde_json::from_slice(&call.body).map_err(|_| invalid("Not JSON."))?;
    let is_regional = parent.contains("/locations/");
    let has_replication = wish["replication"]["automatic"].is_object()
        || wish["replication"]["userManaged"].is_object();
    if has_replication == is_regional {
        return Err(invalid(
            "Secret.replication must be provided, and for regional secrets must not.",
        ));
    }
    let secret = format!("{parent}/secrets/{id}");
    if world.secrets.contains_key(&secret) {
        let text = format!("Secret [{}] already exists.", numbered(&secret));
        return Err(refusal(409, "ALREADY_EXISTS", &text));
    }
    world.create(&secret);
    get(world, &secret)
}

fn get(world: &World, secret: &str) -> Result<Response, Response> {
    world.allow("secretmanager.secrets.get", secret)?;
    let stored = stored(world, secret)?;
    let mut described = json!({
        "name": numbered(secret), "createTime": moment(stored.created),
        "etag": format!("\"{:x}\"", stored.etag),
    });
    if !stored.is_regional {
        described["replication"] = json!({"automatic": {}});
    }
    Ok(reply(&described))
}

fn stored<'a>(world: &'a World, secret: &str) -> Result<&'a Stored, Response> {
    world.secrets.get(secret).ok_or_else(|| {
        refusal(404, "NOT_FOUND", &format!("Secret [{}] not found.", numbered(secret)))
    })
}

fn delete(world: &mut World, call: &Call, secret: &str) -> Result<Response, Response> {
    world.allow("secretmanager.secrets.delete", secret)?;
    check_etag(call.query.get("etag").map(String::as_str), stored(world, secret)?.etag)?;
    world.secrets.remove(secret);
    Ok(reply(&json!({})))
}

fn check_etag(given: Option<&str>, etag: u64) -> Result<(), Response> {
    match given {
        Some(given) if given != format!("\"{etag:x}\"") => {
            Err(refusal(400, "FAILED_PRECONDITION", "The etag provided does not match."))
        }
        _ => Ok(()),
    }
}

fn add_version(world: &mut World, call: &Call, secret: &str) -> Result<Response, Response> {
    world.allow("secretmanager.versions.add", secret)?;
    stored(world, secret)?;
    let wish: Value = serde_json::from_slice(&call.body).map_err(|_| invalid("Not JSON."))?;
    let data = wish["payload"]["data"].as_str().unwrap_or_default();
    let payload = STANDARD.decode(data).map_err(|_| invalid("Not base64."))?;
    if payload.is_empty() || payload.len() > PAYLOAD_MAX {
        return Err(invalid("The payload must have 1 to 65536 bytes."));
    }
    // A 64-bit number is text in JSON, and may be a number.
    let crc = &wish["payload"]["dataCrc32c"];
    let crc = crc.as_str().and_then(|text| text.parse().ok()).or_else(|| crc.as_u64());
    if crc.is_some_and(|crc| crc != u64::from(crc32c::crc32c(&payload))) {
        return Err(invalid("The payload does not match its checksum."));
    }
    if let Some((_, other)) = world.interjection.take_if(|(of, _)| of == secret) {
        world.push(secret, &other, false);
    }
    let number = world.push(secret, &payload, crc.is_some());
    Ok(reply(&world.find(secret, &number.to_string())?.describe(secret, Some(call))))
}

fn list(world: &World, call: &Call, secret: &str) -> Result<Response, Response> {
    world.allow("secretmanager.versions.list", secret)?;
    let stored = stored(world, secret)?;
    let number = |name: &str| call.query.get(name).and_then(|text| text.parse::<usize>().ok());
    let state = match call.query.get("filter").map(String::as_str) {
        None | Some("") => None,
        Some(filter) => Some(filter.strip_prefix("state:").ok_or_else(|| invalid("The filter."))?),
    };
    let fits = |version: &&Version| state.is_none_or(|state| state == version.state);
    let all: Vec<&Version> = stored.versions.iter().rev().filter(fits).collect();
    let size = number("pageSize").filter(|size| *size > 0).unwrap_or(100);
    let from = number("pageToken").unwrap_or(0);
    let page = all.iter().skip(from).take(size);
    let versions: Vec<Value> = page.map(|version| version.describe(secret, Some(call))).collect();
    let mut body = json!({"versions": versions, "totalSize": all.len()});
    if from + size < all.len() {
        body["nextPageToken"] = json!((from + size).to_string());
    }
    Ok(reply(&body))
}

fn access(world: &World, secret: &str, which: &str) -> Result<Response, Response> {
    world.allow("secretmanager.versions.access", secret)?;
    let version = world.find(secret, which)?;
    let name = format!("{}/versions/{}", numbered(secret), version.number);
    if version.state != "ENABLED" {
        let text = format!("Secret Version [{name}] is in {} state.", version.state);
        return Err(refusal(400, "FAILED_PRECONDITION", &text));
    }
    let crc = crc32c::crc32c(&version.payload).to_string();
    let mut payload = version.payload.clone();
    if world.damaged.contains(secret) {
        payload[0] ^= 1;
    }
    let payload = json!({"data": STANDARD.encode(payload), "dataCrc32c": crc});
    Ok(reply(&json!({"name": name, "payload": payload})))
}

fn change(
    world: &mut World,
    call: &Call,
    secret: &str,
    which: &str,
    verb: &str,
) -> Result<Response, Response> {
    let state = match verb {
        "enable" => "ENABLED",
        "disable" => "DISABLED",
        "destroy" => "DESTROYED",
        _ => return Err(refusal(404, "NOT_FOUND", "Not found.")),
    };
    world.allow(&format!("secretmanager.versions.{verb}"), secret)?;
    let version = world.find(secret, which)?;
    let wish: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    check_etag(wish["etag"].as_str(), version.etag)?;
    if version.state == "DESTROYED" {
        let text = "The version is in DESTROYED state.";
        return Err(refusal(400, "FAILED_PRECONDITION", text));
    }
    let number = version.number;
    world.set_state(secret, number, state);
    Ok(reply(&world.find(secret, &number.to_string())?.describe(secret, Some(call))))
}
