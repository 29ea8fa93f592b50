//! What was said since a turn began, for its agent.

use super::until;
use crate::{
    attempt::Attempt,
    fault::Fault,
    hub, input, prompt,
    store::{messages::Message, steering},
};
use kit::{Caller, Failure};
use proto::turn::{InputMessage, SteerAsk, Steered};

/// Takes note of what was taken up, and shows what waits; waits for something to be there.
pub(super) async fn post(attempt: Attempt, _: Caller, ask: SteerAsk) -> Result<Steered, Failure> {
    attempt.is(ask.attempt)?;
    let app = attempt.app()?;
    let deadline = until(ask.wait_seconds);
    let (begun, now) = (attempt.clone(), app.now());
    let turn = app.db.try_read(move |conn| begun.current(conn)).await?;
    if ask.taken > 0 {
        let begun = attempt.clone();
        let took = app.db.try_write("turn.steer", move |tx| {
            let turn = begun.current(tx)?;
            steering::take(tx, &turn, ask.taken, now)
        });
        took.await?;
    }
    // Listening comes before looking, so that what happens between the two is not missed.
    let mut news = app.wake.hub.listen(&hub::chat(turn.chat_jid.as_str()));
    loop {
        let attempt = attempt.clone();
        let waiting = app.db.try_read(move |conn| {
            let turn = attempt.current(conn)?;
            Ok::<_, Fault>(steering::waiting(conn, &turn)?)
        });
        let waiting: Vec<Message> = waiting.await?;
        if let Some(last) = waiting.last() {
            return Ok(shown(last.seq, waiting)?);
        }
        let nothing = Steered {
            upto: ask.taken,
            messages: Vec::new(),
            prompt: String::new(),
            files: Vec::new(),
        };
        tokio::select! {
            () = news.woken() => {}
            () = app.context.stop.cancelled() => return Ok(nothing),
            () = tokio::time::sleep_until(deadline) => return Ok(nothing),
        }
    }
}

fn shown(upto: i64, waiting: Vec<Message>) -> Result<Steered, Fault> {
    let messages = waiting.iter().map(InputMessage::from).collect();
    let mut lines: Vec<prompt::Line> = waiting.into_iter().map(prompt::Line::from).collect();
    let files = input::offer(&mut lines, &[])?;
    Ok(Steered { upto, messages, prompt: prompt::messages(&lines), files })
}
