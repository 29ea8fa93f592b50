//! Objects that are made and changed as they are given: Secrets, ConfigMaps, Services, pods.

use super::{Asked, Done, kinds};
use crate::store::status;
use crate::{Meddling, Shared, lock};
use base64::Engine;
use serde_json::{Value, json};

/// Adds an object.
pub fn create(shared: &Shared, asked: &Asked, kind: &str) -> Done {
    let object = completed(kind, asked.body.clone());
    if let Err(said) = valid(kind, &object) {
        return Done::Object(422, status(422, "Invalid", &said));
    }
    let mut object = object;
    if kind == "services" && object["spec"]["clusterIP"].is_null() {
        object["spec"]["clusterIP"] = shared.options.address.clone().into();
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    match shared.store.create(kind, &asked.namespace, object) {
        Some(made) => Done::Object(201, made),
        None => {
            let message = format!("{kind} \"{name}\" already exists");
            Done::Object(409, status(409, "AlreadyExists", &message))
        }
    }
}

/// What the API makes of an object that it is given: its kind, and a Secret's text as base64.
pub fn completed(resource: &str, mut object: Value) -> Value {
    if let Some(found) = kinds::find(resource) {
        object["kind"] = found.kind.into();
        object["apiVersion"] = found.version.into();
    }
    if resource == "secrets" {
        let text = object["stringData"].take();
        for (name, value) in text.as_object().into_iter().flatten() {
            let bytes = value.as_str().unwrap_or_default();
            let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
            object["data"][name] = encoded.into();
        }
        object.as_object_mut().unwrap().remove("stringData");
    }
    object
}

fn valid(resource: &str, object: &Value) -> Result<(), String> {
    let data = object["data"].as_object().into_iter().flatten();
    for (name, value) in data.filter(|_| resource == "secrets") {
        let text = value.as_str().unwrap_or_default();
        if base64::engine::general_purpose::STANDARD.decode(text).is_err() {
            return Err(format!("data[{name}]: illegal base64 data"));
        }
    }
    Ok(())
}

/// Changes an object by a merge patch (RFC 7396); lists are replaced. One that names a version is refused where the
/// object has another.
pub fn patch(shared: &Shared, asked: &Asked) -> Done {
    let key = asked.key();
    let meddling =
        if asked.query("dryRun").is_empty() { lock(&shared.meddling).take() } else { None };
    if let Some(Meddling(mut change)) = meddling {
        shared.store.change(&key, |object| {
            change(object);
            true
        });
    }
    let wanted = asked.body["metadata"]["resourceVersion"].as_str().map(str::to_owned);
    let mut refusal = None;
    let mut dry = None;
    let changed = shared.store.change(&key, |object| {
        let has = &object["metadata"]["resourceVersion"];
        if wanted.is_some() && has.as_str() != wanted.as_deref() {
            let message = format!(
                "Operation cannot be fulfilled on {} \"{}\": the object has been modified; please apply your changes to the latest version and try again",
                asked.resource, asked.name
            );
            refusal = Some((409, status(409, "Conflict", &message)));
            return false;
        }
        let mut new = object.clone();
        merge(&mut new, &asked.body);
        let mut new = completed(&asked.resource, new);
        if new["spec"] != object["spec"] {
            let generation = object["metadata"]["generation"].as_u64().unwrap_or(1) + 1;
            new["metadata"]["generation"] = generation.into();
        }
        if object["immutable"] == true && new["data"] != object["data"] {
            let message = format!(
                "Secret \"{}\" is invalid: data: Forbidden: field is immutable when `immutable` is set",
                asked.name
            );
            refusal = Some((422, status(422, "Invalid", &message)));
            return false;
        }
        if let Err(said) = valid(&asked.resource, &new) {
            refusal = Some((400, status(400, "BadRequest", &said)));
            return false;
        }
        if !asked.query("dryRun").is_empty() {
            dry = Some(new);
            return false;
        }
        // What changes nothing makes no new version.
        let is_new = *object != new;
        *object = new;
        is_new
    });
    match (refusal, dry, changed) {
        (Some((code, said)), ..) => Done::Object(code, said),
        (None, Some(object), _) | (None, None, Some(object)) => Done::Object(200, object),
        (None, None, None) => asked.not_found(),
    }
}

fn merge(into: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut into[name], value);
        }
    }
}
