//! What a chat platform is to this crate: the one trait that an adapter implements.

use crate::{Files, Trouble};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use proto::{
    Jid, Opaque,
    routd::{Delete, Edit, History, HistoryQuery, React, Send as Message},
};
use serde::{Serialize, de::DeserializeOwned};

/// What an adapter says of itself when it registers.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The account's name, such as `telegram`.
    pub name: &'static str,
    /// The beginnings of the chat addresses that are its own, such as `telegram:`.
    pub prefixes: &'static [&'static str],
    /// What it can do besides sending text: `edit`, `delete`, `react`, `send_file`, `typing`, `history`.
    pub capabilities: &'static [&'static str],
}

/// What routd asks for.
#[derive(Clone, Debug)]
pub enum Act {
    /// A new message.
    Send(Message),
    /// Another text for a message. The ids are those of all the messages that its text became, in order.
    Edit(Edit, Vec<Opaque>),
    /// A message taken back, with all the messages that its text became.
    Delete(Delete, Vec<Opaque>),
    /// A reaction.
    React(React),
}

/// One call of the platform, on the way there.
#[derive(Clone, Copy, Debug)]
pub struct Handing<'a> {
    /// The chat.
    pub chat: &'a Jid,
    /// The key that routd gave, the same in every attempt; for platforms that take a key or a mark of the sender's.
    pub key: &'a str,
    /// Which piece of that key this is, from 0.
    pub index: usize,
    /// Where the files are that an agent sends.
    pub files: &'a Files,
}

/// What is known of a piece whose outcome was in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is out, under these ids.
    Out(Vec<Opaque>),
    /// It is not out, and will not be: it may be handed over again.
    NotOut,
    /// The platform cannot tell.
    Unknown,
}

/// A file of the platform's, as it comes.
pub struct OpenFile {
    /// Its media type, where the platform says.
    pub mime: Option<String>,
    /// Its bytes, where the platform says.
    pub size: Option<u64>,
    /// What is in it.
    pub content: BoxStream<'static, Result<Bytes, Trouble>>,
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile")
            .field("mime", &self.mime)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// A chat platform, as this crate drives it.
///
/// Everything is cut into pieces, and each piece is one call of the platform. Before a piece is handed over it is on
/// disk as being under way; afterwards its outcome is. So a restart goes on with the piece that is next, and one that
/// was under way is in doubt and is not handed over again unless [`Platform::find`] says that it is not out.
#[async_trait]
pub trait Platform: Send + Sync + 'static {
    /// What one call of the platform is given, apart from credentials. It is kept on disk until it is out.
    type Piece: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// What the adapter says of itself.
    fn profile(&self) -> Profile;

    /// Cuts what routd asks for into pieces, in order; at least one. Touches nothing.
    ///
    /// # Errors
    /// The platform has no such thing, or would never take it.
    fn plan(&self, act: &Act) -> Result<Vec<Self::Piece>, Trouble>;

    /// Hands one piece to the platform. The ids of the messages that it became; none for what makes no message.
    ///
    /// # Errors
    /// As [`Trouble`] says. [`Trouble::Ambiguous`] whenever the platform may have it: bytes went out and no answer
    /// came back that can be understood.
    async fn hand(
        &self,
        piece: &Self::Piece,
        handing: &Handing<'_>,
    ) -> Result<Vec<Opaque>, Trouble>;

    /// Looks for a piece whose outcome is in doubt.
    async fn find(&self, _piece: &Self::Piece, _handing: &Handing<'_>) -> Found {
        Found::Unknown
    }

    /// Shows in the chat, for some seconds, that the agent is at work.
    ///
    /// # Errors
    /// As [`Trouble`] says.
    async fn typing(&self, _chat: &Jid, _thread: Option<&str>) -> Result<(), Trouble> {
        let (why, hint) = ("this platform shows nobody typing", "leave it out");
        Err(Trouble::Unsupported { why: why.into(), hint: hint.into() })
    }

    /// What the platform has of a chat, oldest first.
    ///
    /// # Errors
    /// As [`Trouble`] says.
    async fn history(&self, _query: &HistoryQuery) -> Result<History, Trouble> {
        let (why, hint) = ("this platform shows nobody what was said", "use what was received");
        Err(Trouble::Unsupported { why: why.into(), hint: hint.into() })
    }

    /// Opens a file that came with a message, by the id that the adapter put into its address.
    ///
    /// # Errors
    /// As [`Trouble`] says.
    async fn open_file(&self, _id: &str) -> Result<OpenFile, Trouble> {
        Err(Trouble::Permanent("there is no such file".into()))
    }
}
