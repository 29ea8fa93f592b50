//! Files of the crates, as they stand.

#[path = "../../../crates/proxyd/src/client_address.rs"]
pub mod client_address;
#[path = "../../../providers/file/src/dotenv/parse.rs"]
pub mod dotenv;
#[path = "../../../crates/proxyd/src/path.rs"]
pub mod edge_path;
#[path = "../../../crates/webd/src/hook_body.rs"]
pub mod hook_body;
#[path = "../../../crates/webd/src/markdown.rs"]
pub mod markdown;
#[path = "../../../crates/webd/src/rich.rs"]
pub mod rich;
#[path = "../../../crates/proxyd/src/tls.rs"]
pub mod tls;

pub mod route;
