//! OpenBao as an OpenID provider, with people in it: for the tests of logins.

use crate::bao::Bao;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// OpenBao as a provider, with people in it.
pub struct Provider {
    bao: Bao,
    /// The client's id.
    pub client: String,
    /// The client's secret.
    pub secret: String,
    tokens: BTreeMap<String, (String, String)>,
}

/// Each with an address and the groups that they are in.
const PEOPLE: [(&str, &str, &[&str]); 4] = [
    ("ada", "ada@example.org", &["staff", "admins"]),
    ("bob", "bob@example.org", &["staff"]),
    ("eve", "eve@elsewhere.net", &[]),
    // With ada's address, and nobody's groups.
    ("dan", "ada@example.org", &[]),
];

impl Provider {
    /// A provider that sends browsers back to `redirect_uri` alone; `None` where there is no program.
    pub async fn start(redirect_uri: &str) -> Option<Self> {
        let bao = Bao::start().await?;
        bao.ok("POST", "sys/auth/userpass", json!({ "type": "userpass" })).await;
        let mut tokens = BTreeMap::new();
        let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, email, within) in PEOPLE {
            let word = json!({ "password": "correct horse" });
            bao.ok("POST", &format!("auth/userpass/users/{name}"), word.clone()).await;
            let login = bao.ok("POST", &format!("auth/userpass/login/{name}"), word).await;
            let token = login["auth"]["client_token"].as_str().unwrap().to_owned();
            let entity = login["auth"]["entity_id"].as_str().unwrap().to_owned();
            let metadata = json!({ "metadata": { "email": email } });
            bao.ok("POST", &format!("identity/entity/id/{entity}"), metadata).await;
            for group in within {
                groups.entry(group).or_default().push(entity.clone());
            }
            tokens.insert(name.to_owned(), (token, entity));
        }
        for (name, members) in groups {
            let group = json!({ "name": name, "member_entity_ids": members });
            bao.ok("POST", "identity/group", group).await;
        }
        for (scope, template) in [
            ("email", r#"{"email": {{identity.entity.metadata.email}}, "email_verified": true}"#),
            ("groups", r#"{"groups": {{identity.entity.groups.names}}}"#),
        ] {
            let wanted = json!({ "template": template });
            bao.ok("POST", &format!("identity/oidc/scope/{scope}"), wanted).await;
        }
        let key = json!({ "allowed_client_ids": ["*"], "algorithm": "RS256" });
        bao.ok("POST", "identity/oidc/key/arizuko", key).await;
        let client = json!({
            "redirect_uris": [redirect_uri],
            "assignments": ["allow_all"], "key": "arizuko",
            "id_token_ttl": "10m", "access_token_ttl": "10m",
        });
        bao.ok("POST", "identity/oidc/client/arizuko", client).await;
        let made = bao.ok("GET", "identity/oidc/client/arizuko", json!(null)).await;
        let text = |name: &str| made["data"][name].as_str().unwrap().to_owned();
        let (client, secret) = (text("client_id"), text("client_secret"));
        let provider =
            json!({ "allowed_client_ids": [client], "scopes_supported": ["email", "groups"] });
        bao.ok("POST", "identity/oidc/provider/p", provider).await;
        Some(Self { bao, client, secret, tokens })
    }

    /// As it names itself.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("{}/v1/identity/oidc/provider/p", self.bao.base())
    }

    /// How the provider tells `name` apart.
    #[must_use]
    pub fn subject(&self, name: &str) -> &str {
        &self.tokens[name].1
    }

    /// What `name` has in hand once logged in at the provider: code and state, for what it was asked at
    /// `address`, as the query of the way back.
    pub async fn answer(&self, name: &str, address: &str) -> String {
        assert!(address.starts_with(&self.bao.base()), "{address}");
        let (_, query) = address.split_once('?').unwrap();
        let authorize = format!("{}/authorize?{query}", self.issuer());
        let request = reqwest::Client::builder().no_proxy().build().unwrap().get(authorize);
        let answer = request.header("x-vault-token", &self.tokens[name].0).send().await.unwrap();
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(status, 200, "{answer}");
        let (code, state) = (answer["code"].as_str().unwrap(), answer["state"].as_str().unwrap());
        format!("code={code}&state={state}")
    }
}
