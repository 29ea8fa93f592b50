//! Every route, tried without the right to it; and the audit log in pages.

use crate::rig::{SERVICE_KEY, World};
use proto::{Method, Needs, authd, routd::AuditPage};
use std::collections::BTreeSet;

#[tokio::test]
async fn no_route_that_needs_a_right_answers_without_it() {
    let world = World::new();
    let authd = world.start().await;
    // A daemon that may nothing here.
    let teled = authd.token("teled", SERVICE_KEY).await.token;
    let mut tried = 0;
    for route in authd::ROUTES {
        let request = || {
            let path = route.path.replace("{code}", "x").replace("{id}", "1");
            let path = path.replace("{provider}", "x");
            match route.method {
                Method::Get => authd.get(&path),
                Method::Delete => authd.http.delete(authd.url(&path)),
                _ => authd.post(&path),
            }
        };
        let status = async |bearer: Option<&str>| {
            let request = match bearer {
                Some(bearer) => request().bearer_auth(bearer),
                None => request(),
            };
            request.send().await.unwrap().status().as_u16()
        };
        match route.needs {
            Needs::Scope(scope) => {
                tried += 1;
                assert_eq!(status(None).await, 401, "{} without a token", route.path);
                assert_eq!(status(Some(&teled)).await, 403, "{} without {scope}", route.path);
                assert_eq!(status(Some("nonsense")).await, 401, "{} with nonsense", route.path);
            }
            // The body says whose token it is, so it is looked at first.
            Needs::Secret(_) => assert_eq!(status(None).await, 400, "{}", route.path),
            Needs::Nobody => {
                let known = [303, 200, 400, 403, 404].contains(&status(None).await);
                assert!(known, "{} is served", route.path);
            }
            other => panic!("{} needs {other:?}, which this test does not know", route.path),
        }
    }
    assert!(tried >= 5, "{tried}");
}

#[tokio::test]
async fn the_audit_log_comes_in_pages_without_gaps_or_repeats() {
    let world = World::new();
    let authd = world.start().await;
    for _ in 0..7 {
        authd.link().await;
    }
    let bearer = authd.operator().await;
    let (mut seen, mut before) = (Vec::new(), None);
    for _ in 0..50 {
        let mut path = "/v1/audit?limit=3".to_owned();
        if let Some(before) = before {
            path.push_str(&format!("&before={before}"));
        }
        let page = authd.get(&path).bearer_auth(&bearer).send().await.unwrap();
        let page: AuditPage = page.json().await.unwrap();
        assert!(page.rows.len() <= 3);
        seen.extend(page.rows.into_iter().map(|row| (row.id, row.hash)));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(before, None, "the log has an end");
    let ids: Vec<i64> = seen.iter().map(|(id, _)| *id).collect();
    let expected: Vec<i64> = (1..=i64::try_from(ids.len()).unwrap()).rev().collect();
    assert_eq!(ids, expected);
    assert!(ids.len() > 7);
    let hashes: BTreeSet<_> = seen.iter().map(|(_, hash)| hash).collect();
    assert_eq!(hashes.len(), ids.len(), "each row has a hash of its own");
}
