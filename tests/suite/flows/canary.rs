//! No piece of any secret is anywhere but where it must be: every secret of a run is a canary, and afterwards
//! everything that the run left behind is searched for pieces of them.

mod answers;
pub(super) mod processes;
mod run;
pub(super) mod sweep;

use self::{
    processes::{Watch, assert_hardened, memory},
    run::{From, Run},
    sweep::{Canary, Sweep},
};
use crate::harness::Store;
use std::{collections::BTreeMap, thread, time::Duration};

/// How long after the end of an overlap the copies in memory are counted.
const AFTER_OVERLAP: Duration = Duration::from_secs(10);

#[test]
fn nothing_of_the_secrets_of_a_projected_volume_is_anywhere_else() {
    story(From::Volume);
}

#[test]
fn nothing_of_the_secrets_of_a_dotenv_is_anywhere_else() {
    story(From::Dotenv);
}

#[test]
fn nothing_of_the_secrets_of_the_environment_is_anywhere_but_there() {
    story(From::Environment);
}

#[test]
#[ignore = "minutes: tests/run --long"]
fn nothing_of_the_secrets_in_openbao_is_anywhere_else() {
    story(From::Store("vault"));
}

#[test]
#[ignore = "minutes: tests/run --long"]
fn nothing_of_the_secrets_in_secrets_manager_is_anywhere_else() {
    story(From::Store("aws"));
}

#[test]
#[ignore = "minutes: tests/run --long"]
fn nothing_of_the_secrets_in_secret_manager_is_anywhere_else() {
    story(From::Store("gcp"));
}

fn story(from: From) {
    let watch = Watch::begin();
    let Some(mut run) = Run::begin(from) else { return };
    for (daemon, pid) in run.suite.pids() {
        assert_hardened(daemon, pid);
    }
    run.work();
    let replaced = run.replaced();
    if !replaced.is_empty() {
        // The daemons are left alone: what they keep is then what nothing overwrote.
        thread::sleep(AFTER_OVERLAP);
        count_copies(&run, &replaced);
    }
    run.look_around();
    run.ask_everything();
    run.crash_one();
    run.stop();
    let lives = watch.end();

    let mut places = run.files();
    places.append(&mut run.said);
    let mut agents = 0;
    for (pid, life) in lives {
        agents += usize::from(life.iter().any(|(arguments, _)| run.is_agent(arguments)));
        for (arguments, environment) in life {
            // Where a variable is the source, it is with whoever the operator gave it to, and nobody else.
            let exempt = from == From::Environment && run.is_started_here(&arguments);
            places.push((format!("/proc/{pid}/cmdline"), arguments));
            if !exempt {
                places.push((format!("/proc/{pid}/environ"), environment));
            }
        }
    }
    assert!(agents >= 3, "only {agents} agents were seen");
    let size: usize = places.iter().map(|(_, bytes)| bytes.len()).sum();
    eprintln!("{from:?}: {} canaries, {} places, {size} bytes", run.canaries.len(), places.len());

    let sweep = Sweep::new(&run.canaries);
    let mut found = Vec::new();
    for (place, bytes) in &places {
        found.extend(sweep.copies(bytes).iter().map(|copy| format!("{place}: {copy}")));
    }
    assert!(found.is_empty(), "{} pieces of secrets:\n{}", found.len(), found.join("\n"));
    planted_is_found(&run, &places);
    // What proves the instance to the server is with the server and in its file, and nowhere else.
    for proof in run.store.iter().flat_map(Store::credentials) {
        let sweep = Sweep::new(&[Canary { name: "credential".into(), bytes: proof.into_bytes() }]);
        let held = places.iter().filter(|(place, _)| !place.starts_with("/proc"));
        let found: Vec<_> = held.filter(|(_, bytes)| !sweep.copies(bytes).is_empty()).collect();
        assert!(found.is_empty(), "a credential is in {}", found[0].0);
    }
}

/// The search finds what was put into the places it looks at: an agent's own canary, which its operator gave it as
/// an argument.
fn planted_is_found(run: &Run, places: &[answers::Answer]) {
    let sweep = Sweep::new(std::slice::from_ref(&run.decoy));
    let holds = |part: &str| {
        let mut of_part = places.iter().filter(|(place, _)| place.contains(part));
        of_part.any(|(_, bytes)| !sweep.copies(bytes).is_empty())
    };
    for part in ["routd.db", "/cmdline", "/environ", "/homes/", "arizuko ask", "/v1/groups", "MCP"]
    {
        assert!(holds(part), "the search does not find what is planted in {part}");
    }
}

/// Counts what is left of replaced values in each daemon's memory, and says it.
fn count_copies(run: &Run, replaced: &[Canary]) {
    let sweep = Sweep::new(replaced);
    let mut left = BTreeMap::new();
    for (daemon, pid) in run.suite.pids() {
        match memory(pid, &sweep) {
            Ok((kept, read)) => {
                eprintln!("{:?}: {daemon} keeps {} copies in {read} bytes", run.from, kept.len());
                for copy in &kept {
                    eprintln!("  {} {}", copy.region, copy.found);
                }
                left.insert(daemon, kept.len());
            }
            Err(why) => {
                eprintln!("{daemon}: its memory is not counted, because it may not be read: {why}")
            }
        }
    }
    let none = left.values().all(|copies| *copies == 0);
    assert!(none, "copies of replaced values in memory: {left:?}");
}
