//! What routd asks for is done once for each key, whatever the platform answers.

use crate::stage::{Stage, eventually};
use adapter::{Found, Trouble};
use std::time::Duration;

/// Nobody is there.
const NO_ROUTD: &str = "http://127.0.0.1:9";

fn doubt() -> Result<(), Trouble> {
    Err(Trouble::Ambiguous("no answer".into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_that_the_platform_can_clear_up_is_none() {
    let stage = Stage::new(NO_ROUTD).await;
    let platform = &stage.platform;
    platform.hands.lock().unwrap().push_back(doubt());
    platform.finds.lock().unwrap().push_back(Found::Out(vec!["found".parse().unwrap()]));
    assert_eq!(stage.send("a", "k1").await.unwrap(), ["found"]);
    platform.hands.lock().unwrap().push_back(doubt());
    platform.finds.lock().unwrap().push_back(Found::NotOut);
    assert_eq!(stage.send("b", "k2").await.unwrap(), ["k2-0"]);
    platform.hands.lock().unwrap().push_back(doubt());
    assert_eq!(stage.send("c", "k3").await.unwrap_err(), "ambiguous");
    platform.finds.lock().unwrap().push_back(Found::NotOut);
    assert_eq!(stage.send("c", "k3").await.unwrap_err(), "ambiguous", "that was the last word");
    assert_eq!(stage.handed(), ["a", "b", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_when_the_adapter_died_is_in_doubt() {
    let mut stage = Stage::new(NO_ROUTD).await;
    for (found, expected) in [
        (Found::Unknown, Err("ambiguous".to_owned())),
        (Found::NotOut, Ok(vec!["k1-0".to_owned(), "k1-1".to_owned()])),
    ] {
        let key = if found == Found::Unknown { "k0" } else { "k1" };
        *stage.platform.hangs.lock().unwrap() = true;
        stage.platform.handed.lock().unwrap().clear();
        let short = Duration::from_secs(1);
        assert_eq!(stage.send_for("x\ny", key, short).await.unwrap_err(), "no answer");
        eventually("it is under way", async || (stage.handed() == ["x"]).then_some(())).await;
        stage.kill().await;
        *stage.platform.hangs.lock().unwrap() = false;
        stage.platform.finds.lock().unwrap().push_back(found.clone());
        stage.start().await;
        assert_eq!(stage.send("x\ny", key).await, expected, "{found:?}");
        let again: &[&str] = if found == Found::Unknown { &["x"] } else { &["x", "x", "y"] };
        assert_eq!(stage.handed(), again, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_comes_back_is_sent_again_and_those_before_it_are_not() {
    let stage = Stage::new(NO_ROUTD).await;
    let passing = || Err(Trouble::Transient("later".into()));
    stage.platform.hands.lock().unwrap().extend([Ok(()), passing()]);
    assert_eq!(stage.send("a\nb\nc", "k").await.unwrap_err(), "transient");
    assert_eq!(stage.send("a\nb\nc", "k").await.unwrap(), ["k-0", "k-1", "k-2"]);
    assert_eq!(stage.send("a\nb\nc", "k").await.unwrap(), ["k-0", "k-1", "k-2"]);
    assert_eq!(stage.handed(), ["a", "b", "b", "c"]);
    assert_eq!(stage.send("other", "k").await.unwrap_err(), "conflict");
    let never = Err(Trouble::Permanent("gone".into()));
    stage.platform.hands.lock().unwrap().push_back(never);
    for _ in 0..2 {
        assert_eq!(stage.send("d", "k2").await.unwrap_err(), "permanent");
    }
    assert_eq!(stage.handed().len(), 5, "a last word is not asked for twice");
}
