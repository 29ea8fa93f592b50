//! What a program needs: the names that belong together, and the parser that makes them a value.

use crate::{Malformed, Name, Secret};
use std::{fmt, sync::Arc};

/// One name in a bundle.
#[derive(Debug, Clone)]
pub struct Need {
    /// Which secret.
    pub name: Name,
    /// Whether the bundle is nothing without it.
    pub required: bool,
    /// What it is for, in one phrase, for `arizuko secrets check` and the documentation.
    pub about: &'static str,
    /// What can be said of its value without the rest of the bundle; see [`Need::alone`].
    pub alone: Option<CheckAlone>,
}

/// Whether a value can be good, whatever the rest of its bundle is.
pub type CheckAlone = fn(&Arc<Secret>) -> Result<(), Malformed>;

impl Need {
    /// A secret without which the bundle cannot be.
    #[must_use]
    pub const fn required(name: Name, about: &'static str) -> Self {
        Self { name, required: true, about, alone: None }
    }

    /// A secret that the bundle can do without.
    #[must_use]
    pub const fn optional(name: Name, about: &'static str) -> Self {
        Self { name, required: false, about, alone: None }
    }

    /// Says how to check a value by itself, where the bundle's parser checks whether several belong
    /// together: then one of them can be written before the others, and rubbish is refused all the
    /// same.
    #[must_use]
    pub const fn alone(mut self, check: CheckAlone) -> Self {
        self.alone = Some(check);
        self
    }
}

/// What a program does with a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Shows it to a peer, who may refuse it.
    Presents,
    /// Compares with it what a peer shows.
    Checks,
    /// Neither: it opens or seals something with it.
    Uses,
}

/// The secrets that are read together, parsed together, and replaced together or not at all.
///
/// Declare it once, as a `static`: loading, validation, `arizuko secrets check` and the
/// documentation all come from it.
pub struct Bundle<T: 'static> {
    /// The names, each with what it is for. At least one.
    pub needs: &'static [Need],
    /// What the program does with it.
    pub role: Role,
    /// Makes the value, or says why it would fail in use. Must not log, and must not put any part
    /// of a value into the reason.
    pub parse: fn(&Values<'_>) -> Result<T, Malformed>,
}

impl<T> fmt::Debug for Bundle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("needs", &self.needs).field("role", &self.role).finish()
    }
}

/// A bundle whose parsed type does not matter: what a check or a document needs to know.
pub trait AnyBundle: fmt::Debug + Send + Sync {
    /// The names, each with what it is for.
    fn needs(&self) -> &'static [Need];

    /// What the program does with it.
    fn role(&self) -> Role;

    /// Whether the values would do.
    ///
    /// # Errors
    /// With the reason why they would not.
    fn check(&self, values: &Values<'_>) -> Result<(), Malformed>;
}

impl<T> AnyBundle for Bundle<T> {
    fn needs(&self) -> &'static [Need] {
        self.needs
    }

    fn role(&self) -> Role {
        self.role
    }

    fn check(&self, values: &Values<'_>) -> Result<(), Malformed> {
        (self.parse)(values).map(drop)
    }
}

/// What a parser is given: one value for each name of the bundle that there is one for.
#[derive(Debug, Default)]
pub struct Values<'a>(Vec<(&'a Name, &'a Arc<Secret>)>);

impl<'a> Values<'a> {
    /// The values as given; the keeper does this, and the tests of parsers.
    pub fn new(values: impl IntoIterator<Item = (&'a Name, &'a Arc<Secret>)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// The value of `name`, if there is one.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&'a Secret> {
        self.find(name).map(AsRef::as_ref)
    }

    /// The value of `name`.
    ///
    /// # Errors
    /// When there is none, naming it.
    pub fn require(&self, name: &Name) -> Result<&'a Secret, Malformed> {
        self.get(name).ok_or_else(|| absent(name))
    }

    /// The value of `name`, to be kept without a copy of the bytes.
    #[must_use]
    pub fn share(&self, name: &Name) -> Option<Arc<Secret>> {
        self.find(name).cloned()
    }

    /// The value of `name`, to be kept without a copy of the bytes.
    ///
    /// # Errors
    /// When there is none, naming it.
    pub fn require_shared(&self, name: &Name) -> Result<Arc<Secret>, Malformed> {
        self.share(name).ok_or_else(|| absent(name))
    }

    fn find(&self, name: &Name) -> Option<&'a Arc<Secret>> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, secret)| *secret)
    }
}

fn absent(name: &Name) -> Malformed {
    Malformed(format!("{name} is not there").into())
}
