//! Whose chat a chat is.

use super::tool::Look;
use crate::{
    fault::Fault,
    store::{groups, messages},
};
use proto::{Address, Folder, Jid};

/// Whose chat this is. One that nobody wrote in, and that names no folder in service, is nobody's.
pub(super) fn owner(look: &Look<'_>, chat: &Jid) -> Result<Folder, Fault> {
    let nobody = || {
        let text = format!("{chat} is no chat of a folder: nobody has written there");
        Fault::NotFound(text)
    };
    match chat.address() {
        Address::Web(folder) | Address::Hook(folder, _) => {
            let there = groups::in_service(look.conn, &folder)?;
            there.then_some(folder).ok_or_else(nobody)
        }
        Address::Platform if *chat == look.turn.chat_jid => Ok(look.turn.folder.clone()),
        Address::Platform => {
            messages::folder_of_chat(look.conn, chat, &look.turn.folder)?.ok_or_else(nobody)
        }
    }
}
