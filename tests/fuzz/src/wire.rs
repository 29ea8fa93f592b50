//! What travels between daemons: whatever is read can be written, and is then read alike.

use proto::{
    Problem, Timestamp,
    authd::{OperatorTokenRequest, ResolveSession, ServiceTokenRequest},
    kit::{DaemonSecrets, ForgetSecret, Health, Ready},
    routd::{Channel, MessageAck, NewMessage, RegisterChannel, Send, Sent},
    runed::{EndRun, GetRun, ListRuns, Run, RunLog, Runs, StartRun},
    turn::{TurnEvents, TurnInput, TurnResult},
};
use serde::{Serialize, de::DeserializeOwned};

pub fn check(data: &[u8]) {
    alike::<Timestamp>(data);
    alike::<Problem>(data);
    alike::<ServiceTokenRequest>(data);
    alike::<OperatorTokenRequest>(data);
    alike::<ResolveSession>(data);
    alike::<Health>(data);
    alike::<Ready>(data);
    alike::<ForgetSecret>(data);
    alike::<DaemonSecrets>(data);
    alike::<NewMessage>(data);
    alike::<MessageAck>(data);
    alike::<RegisterChannel>(data);
    alike::<Channel>(data);
    alike::<Send>(data);
    alike::<Sent>(data);
    alike::<StartRun>(data);
    alike::<GetRun>(data);
    alike::<ListRuns>(data);
    alike::<Runs>(data);
    alike::<EndRun>(data);
    alike::<Run>(data);
    alike::<RunLog>(data);
    alike::<TurnInput>(data);
    alike::<TurnEvents>(data);
    alike::<TurnResult>(data);
}

fn alike<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_string(&read).expect("what was read can be written");
    let again = serde_json::from_str::<T>(&written);
    let again = again.unwrap_or_else(|error| panic!("{written} is not read: {error}"));
    assert_eq!(serde_json::to_string(&again).expect("as before"), written);
}
