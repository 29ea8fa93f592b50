//! Caps: what may be spent, by whom, and what is set aside for it.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_spends_up_to_its_cap_and_no_further() {
    let model = Model::default();
    let stage = stage_with(&model, &[]).await;
    stage.add_group("atlas/eng").await;
    let agent = Agent::of(&stage, 0).await;
    let money = |daily: u64| CapLimits { daily_micro_dollars: Some(daily), ..CapLimits::default() };
    // A request costs 4,500, and may come to a little less than 5,000.
    cap(&stage, "atlas", money(9_500)).await;
    for _ in 0..2 {
        model.reply(message());
        assert_eq!(agent.ask().await.0, 200, "it fits");
    }
    let (status, answer) = agent.ask().await;
    assert_eq!(status, 429, "500 are left");
    assert!(answer.to_string().contains("$0.000500 left"), "{answer}");
    cap(&stage, "atlas", money(9_000)).await;
    let refused = agent.send(Method::POST, "anthropic/v1/messages", &hello()).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["x-should-retry"], "false");
    assert!(refused.headers().contains_key("retry-after"));
    let answer: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(answer["error"]["type"], "rate_limit_error");
    let message_of = |answer: &Value| answer["error"]["message"].as_str().unwrap().to_owned();
    assert!(message_of(&answer).contains("the folder atlas has spent"), "{answer}");
    assert_eq!(model.asked().len(), 2, "it did not reach the model");
    let audit = stage.call(&AUDIT, &AuditQuery::default(), &stage.operator()).await.unwrap();
    assert!(audit.rows.iter().any(|row| row.action == "usage.cap" && row.target == "folder:atlas"));

    // Read on every request; and a folder below is under the same cap.
    cap(&stage, "atlas", money(14_000)).await;
    stage.say("web:atlas/eng~one", "b0", "hello").await;
    let below = Agent::on(&stage.runed.nth(1).await);
    model.reply(message());
    assert_eq!(below.ask().await.0, 200);
    assert_eq!(below.ask().await.0, 429, "9,000 there and 4,500 here");
    let unknown = json!({ "model": "llama-3", "messages": [] });
    cap(&stage, "atlas", money(1_000_000)).await;
    let (status, answer) = agent.post("openai/v1/chat/completions", &unknown).await;
    assert_eq!(status, 429);
    assert!(message_of(&answer).contains("MODEL_PRICES"), "{answer}");
    let caps = stage.call(&LIST_CAPS, &Nothing {}, &stage.operator()).await.unwrap().caps;
    assert_eq!((caps.len(), caps[0].today.micro_dollars, caps[0].today.tokens), (1, 13_500, 3_300));
    cap(&stage, "atlas", CapLimits::default()).await;
    model.reply(message());
    assert_eq!(agent.post("openai/v1/chat/completions", &unknown).await.0, 200, "no cap any more");

    let first = usage(&stage, UsageQuery { limit: Some(1), ..UsageQuery::default() }).await;
    let rest = UsageQuery { after: first.next.clone(), limit: Some(10), ..UsageQuery::default() };
    let rest = usage(&stage, rest).await;
    assert_eq!((first.rows.len(), rest.rows.len(), rest.next), (1, 2, None));
    assert_eq!((&*first.rows[0].folder, first.rows[0].requests), ("atlas", 2));
    let folder = Some("atlas/eng".parse().unwrap());
    let eng =
        usage(&stage, UsageQuery { folder, by: Some(UsageBy::Person), ..UsageQuery::default() })
            .await;
    assert_eq!((eng.rows.len(), eng.rows[0].requests), (1, 1));
    assert!(!eng.rows[0].person.is_empty(), "{eng:?}");
    let nobody = stage.call(&USAGE, &UsageQuery::default(), "guess").await.unwrap_err();
    assert_eq!(nobody.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_counts_and_what_is_left_in_the_middle_too() {
    let model = Model::default();
    let mut stage = stage_with(&model, &[]).await;
    let agent = Agent::of(&stage, 0).await;
    // What is set aside for one request is a token for each byte, 1,000 more, and 100 of output.
    cap(&stage, "atlas", CapLimits { daily_tokens: Some(1_300), ..CapLimits::default() }).await;
    let end = EVENTS.find("event: message_delta").unwrap();
    model.reply(Reply::Held(EVENTS[..end].into()));
    let held = agent.send(Method::POST, "anthropic/v1/messages", &hello()).await;
    let mut stream = held.bytes_stream();
    assert!(stream.next().await.unwrap().is_ok(), "the beginning comes at once");
    assert_eq!(agent.ask().await.0, 429, "the one in flight counts");
    // The agent goes: so does the request at the model, and what came of the answer is counted.
    drop(stream);
    eventually("the model to be left", || async { (model.gone() == 1).then_some(()) }).await;
    eventually("the row to be closed", || async { (states(&stage) == ["cut"]).then_some(()) })
        .await;
    let rows = by_model(&stage).await;
    let told = (rows[0].input_tokens, rows[0].cache_read_tokens, rows[0].output_tokens);
    assert_eq!(told, (25, 7, 14), "forty bytes of text are fourteen tokens");

    cap(&stage, "atlas", CapLimits::default()).await;
    model.reply(Reply::Broken(EVENTS[..end].into()));
    let broken = agent.send(Method::POST, "anthropic/v1/messages", &hello()).await;
    assert!(broken.bytes().await.is_err(), "nobody takes half an answer for the whole");
    assert_eq!(states(&stage), ["cut", "cut"]);

    // A routd that ends in the middle cuts it too; one that is killed leaves a row, whose whole reserve counts.
    model.reply(Reply::Held(EVENTS[..end].into()));
    let held = agent.send(Method::POST, "anthropic/v1/messages", &hello()).await;
    stage.stop().await;
    assert!(held.bytes().await.is_err());
    assert_eq!(states(&stage), ["cut", "cut", "cut"]);
    stage
        .database()
        .execute("UPDATE usage SET state = 'open', ended_at = NULL WHERE seq = 3", [])
        .unwrap();
    stage.start().await;
    assert_eq!(states(&stage), ["cut", "cut", "lost"]);
    assert_eq!(by_model(&stage).await[0].requests, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_at_the_edge_of_a_cap_do_not_overshoot_it_together() {
    const TURNS: usize = 12;
    let model = Model::default();
    let mut stage = stage_with(&model, &[]).await;
    let mut agents = Vec::new();
    for nth in 0..TURNS {
        stage.add_group(&format!("atlas/t{nth}")).await;
        stage.say(&format!("web:atlas/t{nth}~x"), &format!("p{nth}"), "hello").await;
        agents.push(Agent::on(&stage.runed.of(&format!("atlas/t{nth}")).await));
    }
    let bytes = u64::try_from(hello().to_string().len()).unwrap();
    let each = (bytes + 1_000) * 3 + 100 * 15;
    let limit = 5 * each + each / 2;
    let money = CapLimits { daily_micro_dollars: Some(limit), ..CapLimits::default() };
    let own = "person:visitor:1";
    for whose in ["folder:atlas", "instance", own] {
        cap_of(&stage, whose, money).await;
        let end = EVENTS.find("event: message_delta").unwrap();
        for _ in 0..TURNS {
            model.reply(Reply::Held(EVENTS[..end].into()));
        }
        let body = hello();
        let asked =
            agents.iter().map(|agent| agent.send(Method::POST, "anthropic/v1/messages", &body));
        let answers: Vec<Response> = futures::future::join_all(asked).await;
        let through = answers.iter().filter(|answer| answer.status() == 200).count();
        let refused = answers.iter().filter(|answer| answer.status() == 429).count();
        assert_eq!((through, refused), (5, TURNS - 5), "{whose}");
        let caps = stage.call(&LIST_CAPS, &Nothing {}, &stage.operator()).await.unwrap().caps;
        let today = caps.iter().find(|cap| cap.of.to_string() == whose).unwrap().today;
        assert_eq!(today.micro_dollars, 5 * each, "{whose}: all that they may come to");
        // The agents go, and what came of it is far less: there is room again.
        drop(answers);
        let open = "SELECT count(*) FROM usage WHERE state = 'open'";
        eventually("all rows are closed", || async { (stage.count(open) == 0).then_some(()) })
            .await;
        model.forget();
        model.reply(message());
        assert_eq!(agents[0].ask().await.0, 200, "{whose}");
        cap_of(&stage, whose, CapLimits::default()).await;
        stage.database().execute("UPDATE usage SET began_at = 0, ended_at = 0", []).unwrap();
    }
    // Somebody else's cap is not touched by what this person asks for, and a cap of nothing stops everybody.
    let nothing = CapLimits { daily_tokens: Some(0), ..CapLimits::default() };
    cap_of(&stage, "person:visitor:2", nothing).await;
    model.reply(message());
    assert_eq!(agents[1].ask().await.0, 200);
    cap_of(&stage, "instance", nothing).await;
    let (status, answer) = agents[1].ask().await;
    assert_eq!(status, 429);
    assert!(answer.to_string().contains("this instance has spent"), "{answer}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_unknown_price_is_refused_or_free_as_the_setting_says() {
    let model = Model::default();
    let unknown = json!({ "model": "llama-3", "max_tokens": 10, "messages": [] });
    for (setting, uncapped, capped) in
        [("capped", 200, 429), ("refuse", 429, 429), ("free", 200, 200)]
    {
        let mut stage = stage_with(&model, &[("MODEL_UNPRICED", setting)]).await;
        let agent = Agent::of(&stage, 0).await;
        model.reply(message());
        let (status, answer) = agent.post("openai/v1/chat/completions", &unknown).await;
        assert_eq!(status, uncapped, "{setting}: {answer}");
        let money = CapLimits { daily_micro_dollars: Some(1), ..CapLimits::default() };
        cap(&stage, "atlas", money).await;
        model.reply(message());
        let (status, answer) = agent.post("openai/v1/chat/completions", &unknown).await;
        assert_eq!(status, capped, "{setting}: {answer}");
        assert!(status == 200 || answer.to_string().contains("MODEL_PRICES"), "{answer}");
        model.forget();
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_before_an_answer_begins_costs_its_input() {
    let model = Model::default();
    let stage = stage_with(&model, &[]).await;
    let agent = Agent::of(&stage, 0).await;
    model.reply(Reply::Silent);
    let asking = tokio::spawn(async move { agent.ask().await });
    eventually("the model to be asked", || async { (model.asked().len() == 1).then_some(()) })
        .await;
    asking.abort();
    eventually("the row to be closed", || async { (states(&stage) == ["cut"]).then_some(()) })
        .await;
    // Whether the model had read it is not known: a token for three bytes, as was set aside, and no word of an answer.
    let row = by_model(&stage).await.remove(0);
    let told = (row.requests, row.input_tokens, row.output_tokens);
    assert_eq!(told, (1, hello().to_string().len().div_ceil(3) as u64, 0));
}
