//! A pod's volumes, as the kubelet fills them: directories, claims, and what is projected from Secrets, ConfigMaps,
//! tokens and the pod itself.
//!
//! What is projected is written by the kubelet's AtomicWriter (k8s.io/kubernetes/pkg/volume/util/atomic_writer.go): a
//! new directory beside the old one, named by the time; a link to it under another name; a rename of that link over
//! `..data`; links to what is new, and the removal of what is old. What has not changed is not written again.

use crate::store::Key;
use crate::{Shared, lock};
use base64::Engine;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use time::macros::format_description;

/// What a projected volume holds: each path with its bytes and its mode.
type Payload = BTreeMap<String, (Vec<u8>, u32)>;

/// Where a pod's volumes are.
pub fn place(shared: &Shared, pod: &Value) -> PathBuf {
    shared.place.join("pods").join(text(&pod["metadata"]["uid"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Fills all volumes of a pod; where each is. A Secret or a key that must be there and is not is an error.
pub fn lay_out(shared: &Shared, key: &Key, pod: &Value) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut all = BTreeMap::new();
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let name = text(&volume["name"]).to_owned();
        let at = match volume["persistentVolumeClaim"]["claimName"].as_str() {
            Some(claim) => {
                let claim = shared.options.claims.get(claim);
                claim.cloned().ok_or_else(|| io::Error::other("no such claim"))?
            }
            None => {
                let at = place(shared, pod).join(&name);
                fs::create_dir_all(&at)?;
                fs::set_permissions(&at, fs::Permissions::from_mode(0o1777))?;
                at
            }
        };
        all.insert(name, at);
    }
    refresh(shared, key, pod)?;
    Ok(all)
}

/// Brings what is projected up to date.
pub fn refresh(shared: &Shared, key: &Key, pod: &Value) -> io::Result<()> {
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        if lock(&shared.held).contains(text(&volume["name"])) {
            continue;
        }
        let Some(payload) = payload(shared, key, pod, volume)? else { continue };
        write(&place(shared, pod).join(text(&volume["name"])), &payload)?;
    }
    Ok(())
}

/// What a volume is to hold; `None` for one that is not projected.
fn payload(shared: &Shared, key: &Key, pod: &Value, volume: &Value) -> io::Result<Option<Payload>> {
    let (mut whole, mut payload) = (Vec::new(), Payload::new());
    let mode = |of: &Value| of["defaultMode"].as_u64().and_then(|mode| u32::try_from(mode).ok());
    let default = if volume["projected"].is_object() {
        whole.extend(volume["projected"]["sources"].as_array().into_iter().flatten().cloned());
        mode(&volume["projected"])
    } else if volume["secret"].is_object() {
        let mut secret = volume["secret"].clone();
        secret["name"] = secret["secretName"].clone();
        whole.push(serde_json::json!({ "secret": secret }));
        mode(&volume["secret"])
    } else if volume["configMap"].is_object() {
        whole.push(serde_json::json!({ "configMap": volume["configMap"] }));
        mode(&volume["configMap"])
    } else {
        return Ok(None);
    };
    for source in &whole {
        for (kind, resource) in [("secret", "secrets"), ("configMap", "configmaps")] {
            if source[kind].is_object() {
                payload.extend(of_object(shared, key, &source[kind], resource)?);
            }
        }
        let token = &source["serviceAccountToken"];
        if token.is_object() {
            let path = token["path"].as_str().unwrap_or("token").to_owned();
            payload.insert(
                path,
                (token_of(shared, key, pod, text(&token["audience"])).into_bytes(), 0),
            );
        }
        for item in source["downwardAPI"]["items"].as_array().into_iter().flatten() {
            let value = field(pod, text(&item["fieldRef"]["fieldPath"]));
            payload.insert(text(&item["path"]).to_owned(), (value.into_bytes(), 0));
        }
    }
    for (_, mode) in payload.values_mut() {
        *mode = default.unwrap_or(0o644);
    }
    Ok(Some(payload))
}

fn of_object(shared: &Shared, key: &Key, source: &Value, resource: &str) -> io::Result<Payload> {
    let (name, optional) = (text(&source["name"]), source["optional"] == true);
    let found = shared.store.get(&Key::of(resource, &key.namespace, name));
    // Every namespace has the authorities of the API.
    let found = found.or_else(|| {
        (name == "kube-root-ca.crt").then(|| serde_json::json!({"data": {"ca.crt": shared.ca}}))
    });
    let Some(object) = found else {
        let missing = || io::Error::other(format!("{resource} \"{name}\" not found"));
        return if optional { Ok(Payload::new()) } else { Err(missing()) };
    };
    let bytes = |value: &Value| match resource {
        "secrets" => base64::engine::general_purpose::STANDARD.decode(text(value)).unwrap(),
        _ => text(value).as_bytes().to_vec(),
    };
    let data = object["data"].as_object().cloned().unwrap_or_default();
    let Some(items) = source["items"].as_array() else {
        return Ok(data.iter().map(|(name, value)| (name.clone(), (bytes(value), 0))).collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match data.get(text(&item["key"])) {
            Some(value) => {
                payload.insert(text(&item["path"]).to_owned(), (bytes(value), 0));
            }
            None if optional => {}
            None => {
                let said =
                    format!("references non-existent {resource} key: {}", text(&item["key"]));
                return Err(io::Error::other(said));
            }
        }
    }
    Ok(payload)
}

/// A pod's token for an audience, made once: the kubelet makes another only as the time of one runs out.
fn token_of(shared: &Shared, key: &Key, pod: &Value, audience: &str) -> String {
    let audience = if audience.is_empty() { crate::AUDIENCE } else { audience };
    let uid = text(&pod["metadata"]["uid"]).to_owned();
    let known = lock(&shared.projected).get(&(uid.clone(), audience.to_owned())).cloned();
    known.unwrap_or_else(|| {
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        let token = shared.issue(account, audience, &key.name, &uid);
        lock(&shared.projected).insert((uid, audience.to_owned()), token.clone());
        token
    })
}

/// What a pod is told of itself.
pub fn field(pod: &Value, path: &str) -> String {
    path.split('.').fold(pod, |at, part| &at[part]).as_str().unwrap_or_default().to_owned()
}

fn write(at: &Path, payload: &Payload) -> io::Result<()> {
    let data = at.join("..data");
    let old = fs::read_link(&data).ok().map(|name| at.join(name));
    if old.as_ref().is_some_and(|old| holds(old, payload)) {
        return Ok(());
    }
    let named = format_description!("..[year]_[month]_[day]_[hour]_[minute]_[second].");
    let stamp = OffsetDateTime::now_utc().format(named).unwrap();
    let new = format!("{stamp}{}", rand::random_range(1_000_000_000_u32..4_000_000_000));
    fs::create_dir(at.join(&new))?;
    fs::set_permissions(at.join(&new), fs::Permissions::from_mode(0o755))?;
    for (path, (bytes, mode)) in payload {
        let file = at.join(&new).join(path);
        fs::write(&file, bytes)?;
        // Processes here are the user of the test, and a group of the pod's is no group of theirs.
        fs::set_permissions(&file, fs::Permissions::from_mode(mode | 0o444))?;
    }
    symlink(&new, at.join("..data_tmp"))?;
    fs::rename(at.join("..data_tmp"), &data)?;
    for path in payload.keys() {
        let link = at.join(path);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(path), link)?;
        }
    }
    for entry in fs::read_dir(at)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !payload.contains_key(&name) {
            fs::remove_file(at.join(name))?;
        }
    }
    old.map_or(Ok(()), fs::remove_dir_all)
}

/// Whether a directory holds this and nothing else.
fn holds(old: &Path, payload: &Payload) -> bool {
    let is_there = |(path, (bytes, _)): (&String, &(Vec<u8>, u32))| {
        fs::read(old.join(path)).is_ok_and(|there| there == *bytes)
    };
    let count = fs::read_dir(old).map_or(0, Iterator::count);
    count == payload.len() && payload.iter().all(is_there)
}
