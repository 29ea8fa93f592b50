//! The parts of the chat page that never change while the program runs.

use crate::page::AssetPaths;
use sha2::{Digest, Sha256};

/// One file, with a name that is its content's own.
#[derive(Debug)]
pub struct Asset {
    /// The last part of its path, such as `chat.3f9c0a1b2c3d.css`.
    pub name: String,
    /// Its media type.
    pub kind: &'static str,
    /// What is in it.
    pub content: &'static str,
}

/// The style sheet, in the order in which its parts win.
const STYLE: &str = concat!(
    include_str!("assets/page.css"),
    include_str!("assets/talk.css"),
    include_str!("assets/media.css")
);

/// The files of the chat page.
#[derive(Debug)]
pub struct Assets {
    files: [Asset; 3],
    /// Where the page finds them.
    pub paths: AssetPaths,
}

impl Assets {
    /// The files that were built into the program.
    pub fn new() -> Self {
        let style = asset("chat", "css", "text/css; charset=utf-8", STYLE);
        let script =
            asset("chat", "js", "text/javascript; charset=utf-8", include_str!("assets/chat.js"));
        let icon = asset("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg"));
        let path = |asset: &Asset| format!("/chat/assets/{}", asset.name);
        let paths = AssetPaths { style: path(&style), script: path(&script), icon: path(&icon) };
        Self { files: [style, script, icon], paths }
    }

    /// The file of this name.
    pub fn get(&self, name: &str) -> Option<&Asset> {
        self.files.iter().find(|asset| asset.name == name)
    }
}

fn asset(stem: &str, extension: &str, kind: &'static str, content: &'static str) -> Asset {
    let mut digest = hex::encode(Sha256::digest(content));
    digest.truncate(12);
    Asset { name: format!("{stem}.{digest}.{extension}"), kind, content }
}
