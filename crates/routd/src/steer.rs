//! Words that steer a chat instead of asking something. Pure.
//!
//! A message that is nothing but `@name` pins the chat to a folder below the one that its route gives it; nothing but
//! `@` lets it go. What is no folder is an ordinary message.

use proto::Folder;

/// What a message steers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Steer {
    /// To one of these folders, the first that is in service.
    Pin(Vec<Folder>),
    /// Back to the routes.
    Unpin,
}

/// What a message steers, if it does: `base` is the folder that the chat's route gives it.
pub(crate) fn read(content: &str, base: &Folder) -> Option<Steer> {
    let name = content.trim().strip_prefix('@')?;
    if name.is_empty() {
        return Some(Steer::Unpin);
    }
    let whole = name.parse().ok().filter(|folder: &Folder| base.contains(folder));
    let below = format!("{base}/{name}").parse().ok();
    let folders: Vec<Folder> = whole.into_iter().chain(below).collect();
    (!folders.is_empty()).then_some(Steer::Pin(folders))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_steered_within_its_own_folder_only() {
        let base: Folder = "atlas/eng".parse().unwrap();
        let folders = |names: &[&str]| {
            Some(Steer::Pin(names.iter().map(|name| name.parse().unwrap()).collect()))
        };
        assert_eq!(read("@sre", &base), folders(&["atlas/eng/sre"]));
        assert_eq!(
            read(" @atlas/eng/sre ", &base),
            folders(&["atlas/eng/sre", "atlas/eng/atlas/eng/sre"])
        );
        assert_eq!(read("@atlas/legal", &base), folders(&["atlas/eng/atlas/legal"]));
        assert_eq!(read("@", &base), Some(Steer::Unpin));
        for ordinary in ["", "sre", "@sre please", "@../legal", "@Bob", "hello @sre"] {
            assert_eq!(read(ordinary, &base), None, "{ordinary}");
        }
    }
}
