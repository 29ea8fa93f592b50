//! A container's environment: what its specification says, what it refers to, what the kubelet adds, and what a test
//! tells it.

use crate::store::Key;
use crate::{Shared, volumes};
use base64::Engine;
use serde_json::Value;
use std::io;

type Variables = Vec<(String, String)>;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The environment of a container.
pub fn of(shared: &Shared, key: &Key, pod: &Value, container: &Value) -> io::Result<Variables> {
    let mut all = Variables::new();
    if pod["spec"]["enableServiceLinks"] != false {
        all.extend(links(shared, key));
    }
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let prefix = text(&source["prefix"]);
        for (kind, resource) in [("configMapRef", "configmaps"), ("secretRef", "secrets")] {
            if !source[kind].is_object() {
                continue;
            }
            let data = data(shared, key, resource, &source[kind])?;
            all.extend(data.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)));
        }
    }
    for one in container["env"].as_array().into_iter().flatten() {
        let from = &one["valueFrom"];
        let value = if let Some(value) = one["value"].as_str() {
            expanded(value, &all)
        } else if from["fieldRef"].is_object() {
            volumes::field(pod, text(&from["fieldRef"]["fieldPath"]))
        } else if from["secretKeyRef"].is_object() {
            one_of(&data(shared, key, "secrets", &from["secretKeyRef"])?, &from["secretKeyRef"])?
        } else if from["configMapKeyRef"].is_object() {
            let of = &from["configMapKeyRef"];
            one_of(&data(shared, key, "configmaps", of)?, of)?
        } else {
            String::new()
        };
        all.push((text(&one["name"]).to_owned(), value));
    }
    all.extend(of_the_api(shared));
    let told = shared.options.told.get(text(&container["name"]));
    for (name, value) in told.into_iter().flatten() {
        let value = expanded(value, &all);
        all.push((name.clone(), value));
    }
    Ok(all)
}

/// Puts values in place of `$(NAME)`; what is not known stays as it is.
pub fn expanded(text: &str, variables: &[(String, String)]) -> String {
    let mut out = text.to_owned();
    // The last one that was set counts.
    for (name, value) in variables.iter().rev() {
        out = out.replace(&format!("$({name})"), value);
    }
    out
}

fn data(shared: &Shared, key: &Key, resource: &str, reference: &Value) -> io::Result<Variables> {
    let name = text(&reference["name"]);
    let Some(object) = shared.store.get(&Key::of(resource, &key.namespace, name)) else {
        let missing = || io::Error::other(format!("{resource} \"{name}\" not found"));
        return if reference["optional"] == true { Ok(Vec::new()) } else { Err(missing()) };
    };
    let decoded = |value: &str| match resource {
        "secrets" => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(value).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => value.to_owned(),
    };
    let all = object["data"].as_object().cloned().unwrap_or_default();
    Ok(all.iter().map(|(name, value)| (name.clone(), decoded(text(value)))).collect())
}

fn one_of(data: &[(String, String)], reference: &Value) -> io::Result<String> {
    let found = data.iter().find(|(name, _)| name == text(&reference["key"]));
    match found {
        Some((_, value)) => Ok(value.clone()),
        None if reference["optional"] == true => Ok(String::new()),
        None => Err(io::Error::other(format!("couldn't find key {}", text(&reference["key"])))),
    }
}

/// The Services of the namespace, as they were when the container was made.
fn links(shared: &Shared, key: &Key) -> Variables {
    let (services, _) = shared.store.list("services", &key.namespace);
    let mut all = Variables::new();
    for (_, service) in services {
        let ip = text(&service["spec"]["clusterIP"]);
        if ip.is_empty() || ip == "None" {
            continue;
        }
        let name = text(&service["metadata"]["name"]).to_uppercase().replace('-', "_");
        all.push((format!("{name}_SERVICE_HOST"), ip.to_owned()));
        let port = service["spec"]["ports"][0]["port"].to_string();
        all.push((format!("{name}_SERVICE_PORT"), port));
    }
    all
}

/// The kubelet adds these to every container, whatever the pod says of service links.
fn of_the_api(shared: &Shared) -> Variables {
    let (host, port) = (shared.address.ip(), shared.address.port());
    [
        ("KUBERNETES_SERVICE_HOST", host.to_string()),
        ("KUBERNETES_SERVICE_PORT", port.to_string()),
        ("KUBERNETES_SERVICE_PORT_HTTPS", port.to_string()),
        ("KUBERNETES_PORT", format!("tcp://{host}:{port}")),
        ("KUBERNETES_PORT_443_TCP", format!("tcp://{host}:{port}")),
        ("KUBERNETES_PORT_443_TCP_PROTO", "tcp".into()),
        ("KUBERNETES_PORT_443_TCP_PORT", port.to_string()),
        ("KUBERNETES_PORT_443_TCP_ADDR", host.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
