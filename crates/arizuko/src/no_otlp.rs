//! In place of `otlp`, in a build without it: nobody is told of spans.

use kit::{AnySetting, SettingError, Settings, TraceTo};
use secrets::AnyBundle;

/// The settings that this reads.
pub const SETTINGS: &[&dyn AnySetting] = &[];

/// Nobody.
///
/// # Errors
/// None.
pub const fn wanted(_: &Settings) -> Result<Option<TraceTo>, SettingError> {
    Ok(None)
}

/// The secrets that each daemon needs for it.
pub const fn bundles(_: &Settings) -> Option<&'static dyn AnyBundle> {
    None
}

/// Whether a secret of this name is used here.
pub const fn uses(_: &secrets::Name) -> bool {
    false
}
