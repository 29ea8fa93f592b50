//! The kinds that there are, and what the API tells of them to clients that look.

use serde_json::{Value, json};

/// A kind of object.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Such as `pods`.
    pub resource: &'static str,
    pub kind: &'static str,
    /// Group and version.
    pub version: &'static str,
    pub namespaced: bool,
    /// What people call it.
    pub short: &'static str,
}

const fn kind(
    resource: &'static str,
    kind: &'static str,
    version: &'static str,
    namespaced: bool,
    short: &'static str,
) -> Kind {
    Kind { resource, kind, version, namespaced, short }
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "admissionregistration.k8s.io/v1";
const NETWORK: &str = "networking.k8s.io/v1";

/// Those of which more than their text is known come first. Of the others, that they are there.
const KINDS: &[Kind] = &[
    kind("pods", "Pod", "v1", true, "po"),
    kind("jobs", "Job", "batch/v1", true, ""),
    kind("runtimeclasses", "RuntimeClass", "node.k8s.io/v1", false, ""),
    kind("tokenreviews", "TokenReview", "authentication.k8s.io/v1", false, ""),
    kind("secrets", "Secret", "v1", true, ""),
    kind("configmaps", "ConfigMap", "v1", true, "cm"),
    kind("services", "Service", "v1", true, "svc"),
    kind("deployments", "Deployment", "apps/v1", true, "deploy"),
    kind("namespaces", "Namespace", "v1", false, "ns"),
    kind("persistentvolumeclaims", "PersistentVolumeClaim", "v1", true, "pvc"),
    kind("serviceaccounts", "ServiceAccount", "v1", true, "sa"),
    kind("roles", "Role", RBAC, true, ""),
    kind("rolebindings", "RoleBinding", RBAC, true, ""),
    kind("clusterroles", "ClusterRole", RBAC, false, ""),
    kind("clusterrolebindings", "ClusterRoleBinding", RBAC, false, ""),
    kind("validatingadmissionpolicies", "ValidatingAdmissionPolicy", ADMISSION, false, ""),
    kind(
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        ADMISSION,
        false,
        "",
    ),
    kind("networkpolicies", "NetworkPolicy", NETWORK, true, "netpol"),
    kind("ingresses", "Ingress", NETWORK, true, "ing"),
    kind("poddisruptionbudgets", "PodDisruptionBudget", "policy/v1", true, "pdb"),
];

/// The kind of a resource.
pub fn find(resource: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.resource == resource)
}

/// The groups and versions, without the first.
fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> =
        KINDS.iter().map(|kind| kind.version).filter(|of| *of != "v1").collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// What is told at a path of discovery.
pub fn discovery(path: &str) -> Option<Value> {
    let group = |of: &&str| {
        let (name, version) = of.split_once('/').unwrap_or((of, ""));
        let version = json!({"groupVersion": of, "version": version});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    Some(match path.trim_end_matches('/') {
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"]}),
        "/apis" => json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": groups().iter().map(group).collect::<Vec<_>>(),
        }),
        "/version" => json!({
            "major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64",
            "gitCommit": "", "gitTreeState": "clean", "buildDate": "", "goVersion": "", "compiler": "gc",
        }),
        "/openapi/v3" => {
            let path =
                |of: &str| if of == "v1" { "api/v1".to_owned() } else { format!("apis/{of}") };
            let all = groups().into_iter().chain(["v1"]).map(path);
            let paths = all.map(|path| {
                let url = format!("/openapi/v3/{path}");
                (path, json!({ "serverRelativeURL": url }))
            });
            json!({"paths": paths.collect::<serde_json::Map<_, _>>()})
        }
        path => match path.strip_prefix("/openapi/v3/") {
            Some(of) => described(version(of)?)?,
            None => resources(version(path.trim_start_matches('/'))?)?,
        },
    })
}

fn version(path: &str) -> Option<&str> {
    path.strip_prefix("apis/").or_else(|| path.strip_prefix("api/"))
}

fn resources(version: &str) -> Option<Value> {
    let own = KINDS.iter().filter(|kind| kind.version == version);
    let list: Vec<Value> = own
        .map(|of| {
            let short: Vec<&str> =
                Some(of.short).filter(|short| !short.is_empty()).into_iter().collect();
            json!({
                "name": of.resource, "singularName": of.kind.to_lowercase(), "kind": of.kind,
                "namespaced": of.namespaced, "shortNames": short,
                "verbs": ["create", "delete", "get", "list", "patch", "watch"],
            })
        })
        .collect();
    (!list.is_empty()).then(|| {
        json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list,
        })
    })
}

/// As much of the description of a group as tells clients that the server looks at fields itself.
fn described(of: &str) -> Option<Value> {
    let (group, version) = of.split_once('/').unwrap_or(("", of));
    let own = KINDS.iter().filter(|kind| kind.version == of);
    let paths: serde_json::Map<String, Value> = own
        .map(|kind| {
            let place = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
            let patch = json!({
                "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                "responses": {},
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind.kind},
            });
            (format!("/{of}/{place}{}/{{name}}", kind.resource), json!({ "patch": patch }))
        })
        .collect();
    (!paths.is_empty()).then(|| {
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.33.0"}, "paths": paths})
    })
}
