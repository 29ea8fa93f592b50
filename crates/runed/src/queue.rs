//! Whose turn it is: the order of waiting runs, one run of a folder at a time, and a cap on all.

use proto::Folder;
use std::collections::BTreeSet;

/// A run that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// Its folder.
    pub folder: Folder,
    /// Whether it waits; otherwise it takes a place.
    pub waits: bool,
}

/// Which waiting runs begin now, in order. `open` is every run that has not ended.
///
/// A run whose folder is busy is passed over and keeps its place; it does not hold up other folders.
pub fn next(open: &[Open], capacity: u32) -> Vec<i64> {
    let mut busy: BTreeSet<&Folder> =
        open.iter().filter(|run| !run.waits).map(|run| &run.folder).collect();
    let taken = open.iter().filter(|run| !run.waits).count();
    let room = usize::try_from(capacity).unwrap_or(usize::MAX).saturating_sub(taken);
    let mut waiting: Vec<&Open> = open.iter().filter(|run| run.waits).collect();
    waiting.sort_by_key(|run| run.seq);
    waiting.retain(|run| busy.insert(&run.folder));
    waiting.iter().take(room).map(|run| run.seq).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(seq: i64, folder: &str, waits: bool) -> Open {
        Open { seq, folder: folder.parse().unwrap(), waits }
    }

    #[test]
    fn first_come_first_served_but_a_folder_has_one_run_at_a_time() {
        let runs = [
            open(4, "c", true),
            open(1, "a", false),
            open(2, "a", true),
            open(3, "b", true),
            open(5, "b", true),
        ];
        assert_eq!(next(&runs, 10), [3, 4], "a is busy, and b has only its first");
        assert_eq!(next(&runs, 2), [3], "one place is taken, one is free");
        assert_eq!(next(&runs, 1), [0; 0]);
        assert_eq!(next(&[], 4), [0; 0]);
    }

    #[test]
    fn more_runs_than_places_as_after_a_lower_setting_start_nothing() {
        let runs = [open(1, "a", false), open(2, "b", false), open(3, "c", true)];
        assert_eq!(next(&runs, 1), [0; 0]);
    }
}
