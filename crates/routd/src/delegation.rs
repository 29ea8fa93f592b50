//! Whether a task may be handed on. Pure.
//!
//! A chain of tasks is as deep as [`DEPTH_MAX`], never comes back to a folder that waits for it, and makes at most
//! [`CHAIN_MAX`] tasks in all: what two agents say to each other ends by itself.

use proto::Folder;

/// How deep a task may be handed on: a task of a task of a task.
pub(crate) const DEPTH_MAX: u32 = 3;
/// Tasks that may follow from one, results and all.
pub(crate) const CHAIN_MAX: u32 = 16;

/// Where a turn stands in a chain of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The first task of the chain; none where the turn is in no chain.
    pub(crate) root: Option<String>,
    /// The task that the turn is at work on.
    pub(crate) parent: Option<String>,
    /// How deep that is.
    pub(crate) depth: u32,
    /// The folders that wait for it.
    pub(crate) waiting: Vec<Folder>,
    /// Tasks of the chain so far.
    pub(crate) made: u32,
}

/// Refuses a task that would be too deep, too many, or go round in a circle; answers how deep it is.
pub(crate) fn admit(chain: &Chain, own: &Folder, target: &Folder) -> Result<u32, String> {
    if target == own {
        return Err("a folder does not delegate to itself; do it in this turn".into());
    }
    if chain.waiting.contains(target) {
        return Err(format!("{target} waits for this very task; answer it instead"));
    }
    if chain.depth >= DEPTH_MAX {
        return Err(format!(
            "this task was handed on {DEPTH_MAX} times; do it, or say that you cannot"
        ));
    }
    if chain.made >= CHAIN_MAX {
        return Err(format!("{CHAIN_MAX} tasks have come of this one; finish with what there is"));
    }
    Ok(chain.depth + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn folder(n: u8) -> Folder {
        format!("f{n}").parse().unwrap()
    }

    proptest! {
        #[test]
        fn whatever_agents_try_a_chain_ends_and_has_no_circle(tries in prop::collection::vec((0usize..40, 0u8..6), 0..200)) {
            // Turns at work on a task of one chain; a result goes back to the turn's own place.
            let mut turns = vec![(folder(0), Chain::default())];
            let mut tasks: BTreeMap<String, Vec<Folder>> = BTreeMap::new();
            for (which, target) in tries {
                let (own, mut chain) = turns[which % turns.len()].clone();
                chain.made = u32::try_from(tasks.len()).unwrap();
                let target = folder(target);
                let Ok(depth) = admit(&chain, &own, &target) else { continue };
                let id = tasks.len().to_string();
                let mut waiting = chain.waiting.clone();
                waiting.push(own);
                prop_assert!(!waiting.contains(&target), "{waiting:?} {target}");
                prop_assert_eq!(usize::try_from(depth).unwrap(), waiting.len());
                tasks.insert(id.clone(), waiting.clone());
                turns.push((target, Chain { root: Some("0".into()), parent: Some(id), depth, waiting, made: 0 }));
            }
            prop_assert!(tasks.len() <= usize::try_from(CHAIN_MAX).unwrap());
            prop_assert!(tasks.values().all(|waiting| waiting.len() <= usize::try_from(DEPTH_MAX).unwrap()));
        }
    }
}
