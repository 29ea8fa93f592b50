//! The OpenAPI 3.1 document of a daemon, made from its endpoint values.

use proto::{Method, Needs, Route};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The document, while endpoints are being added.
#[derive(Debug)]
pub(crate) struct Document {
    title: &'static str,
    paths: Map<String, Value>,
    schemas: SchemaGenerator,
}

impl Document {
    pub(crate) fn new(title: &'static str) -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        Self { title, paths: Map::new(), schemas: settings.into_generator() }
    }

    pub(crate) fn endpoint<Req: JsonSchema, Res: JsonSchema>(&mut self, route: Route, status: u16) {
        let request = self.schemas.subschema_for::<Req>().to_value();
        let answer = self.schemas.subschema_for::<Res>().to_value();
        let mut operation = operation(route);
        let in_path = path_parameters(route.path);
        if route.method.has_body() {
            operation["requestBody"] =
                json!({ "content": { "application/json": { "schema": request } } });
            operation["parameters"] = json!(
                in_path
                    .iter()
                    .map(|n| parameter(n, "path", true, json!({"type": "string"})))
                    .collect::<Vec<_>>()
            );
        } else {
            operation["parameters"] = json!(self.parameters::<Req>(&in_path));
        }
        operation["responses"] = json!({
            status.to_string(): {
                "description": route.about,
                "content": { "application/json": { "schema": answer } },
            },
            "default": { "$ref": "#/components/responses/Problem" },
        });
        self.insert(route, operation);
    }

    pub(crate) fn raw(&mut self, route: Route) {
        let mut operation = operation(route);
        let parameters = path_parameters(route.path);
        operation["parameters"] = parameters
            .iter()
            .map(|n| parameter(n, "path", true, json!({"type": "string"})))
            .collect();
        operation["responses"] = json!({ "default": { "description": route.about } });
        self.insert(route, operation);
    }

    /// The fields of a request without a body, each as a parameter.
    fn parameters<Req: JsonSchema>(&mut self, in_path: &[&str]) -> Vec<Value> {
        let schema = Req::json_schema(&mut self.schemas).to_value();
        let required: Vec<&str> = schema["required"]
            .as_array()
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let Some(fields) = schema["properties"].as_object() else { return Vec::new() };
        let one = |(name, schema): (&String, &Value)| {
            let place = if in_path.contains(&name.as_str()) { "path" } else { "query" };
            let needed = place == "path" || required.contains(&name.as_str());
            parameter(name, place, needed, schema.clone())
        };
        fields.iter().map(one).collect()
    }

    fn insert(&mut self, route: Route, operation: Value) {
        // What takes the rest of a path is a parameter like any other there.
        let path = self.paths.entry(route.path.replace("{*", "{")).or_insert_with(|| json!({}));
        path[method(route.method)] = operation;
    }

    pub(crate) fn into_json(mut self) -> Value {
        let problem = self.schemas.subschema_for::<proto::Problem>().to_value();
        json!({
            "openapi": "3.1.0",
            "info": { "title": format!("arizuko {}", self.title), "version": env!("CARGO_PKG_VERSION") },
            "paths": self.paths,
            "components": {
                "schemas": self.schemas.take_definitions(true),
                "responses": { "Problem": {
                    "description": "What went wrong and what to do (RFC 9457)",
                    "content": { "application/problem+json": { "schema": problem } },
                } },
                "securitySchemes": {
                    "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                    "secret": { "type": "http", "scheme": "bearer" },
                },
            },
        })
    }
}

fn operation(route: Route) -> Value {
    let security = match route.needs {
        Needs::Nobody | Needs::Socket => json!([]),
        Needs::Scope(scope) => json!([{ "token": [scope] }]),
        Needs::Secret(_) => json!([{ "secret": [] }]),
        Needs::ScopeOrSecret(scope, _) => json!([{ "token": [scope] }, { "secret": [] }]),
    };
    json!({ "summary": route.about, "security": security })
}

fn parameter(name: &str, place: &str, required: bool, schema: Value) -> Value {
    json!({ "name": name, "in": place, "required": required, "schema": schema })
}

fn path_parameters(path: &str) -> Vec<&str> {
    let names = path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| name.trim_start_matches('*')).collect()
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Put => "put",
        Method::Delete => "delete",
    }
}
