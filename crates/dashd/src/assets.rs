//! The files of the pages, which never change while the program runs.

use sha2::{Digest, Sha256};

/// One file, with a name that is its content's own.
#[derive(Debug)]
pub(crate) struct Asset {
    /// The last part of its path, such as `dash.3f9c0a1b2c3d.css`.
    pub(crate) name: String,
    /// Its media type.
    pub(crate) kind: &'static str,
    /// What is in it.
    pub(crate) content: &'static str,
}

/// Where a page finds its files.
#[derive(Clone, Debug)]
pub(crate) struct AssetPaths {
    pub(crate) style: String,
    pub(crate) icon: String,
    /// htmx and its extensions.
    pub(crate) script: String,
}

/// The files that were built into the program.
#[derive(Debug)]
pub(crate) struct Assets {
    files: [Asset; 3],
    pub(crate) paths: AssetPaths,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

impl Assets {
    pub(crate) fn new() -> Self {
        let style = concat!(
            include_str!("../assets/frame.css"),
            include_str!("../assets/parts.css"),
            include_str!("../assets/media.css")
        );
        let style = asset("dash", "css", "text/css; charset=utf-8", style);
        let icon = asset("icon", "svg", "image/svg+xml", include_str!("../assets/icon.svg"));
        // One file: htmx looks through the page as soon as it has run, and must know its extensions by then.
        let htmx = concat!(
            include_str!("../assets/htmx.min.js"),
            ";\n",
            include_str!("../assets/hx-csp.min.js"),
            ";\n",
            include_str!("../assets/hx-sse.min.js")
        );
        let htmx = asset("htmx", "js", SCRIPT, htmx);
        let path = |asset: &Asset| format!("/dash/assets/{}", asset.name);
        let script = path(&htmx);
        let paths = AssetPaths { style: path(&style), icon: path(&icon), script };
        Self { files: [style, icon, htmx], paths }
    }

    /// The file of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Asset> {
        self.files.iter().find(|asset| asset.name == name)
    }
}

fn asset(stem: &str, extension: &str, kind: &'static str, content: &'static str) -> Asset {
    let mut digest = hex::encode(Sha256::digest(content));
    digest.truncate(12);
    Asset { name: format!("{stem}.{digest}.{extension}"), kind, content }
}
