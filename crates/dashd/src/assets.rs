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
    /// htmx first, then its extensions.
    pub(crate) scripts: [String; 3],
}

/// The files that were built into the program.
#[derive(Debug)]
pub(crate) struct Assets {
    files: [Asset; 5],
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
        let htmx = asset("htmx", "js", SCRIPT, include_str!("../assets/htmx.min.js"));
        let csp = asset("hx-csp", "js", SCRIPT, include_str!("../assets/hx-csp.min.js"));
        let sse = asset("hx-sse", "js", SCRIPT, include_str!("../assets/hx-sse.min.js"));
        let path = |asset: &Asset| format!("/dash/assets/{}", asset.name);
        let scripts = [path(&htmx), path(&csp), path(&sse)];
        let paths = AssetPaths { style: path(&style), icon: path(&icon), scripts };
        Self { files: [style, icon, htmx, csp, sse], paths }
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
