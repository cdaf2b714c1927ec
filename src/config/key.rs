//! What is known about a key, and the macro with which a section declares its keys once: field, JSON name, type,
//! default, status, whether a reload applies it, and its meaning. Loading, checking, dumping and the documentation
//! all read this one table.

use serde_json::Value;

use crate::Settings;
use crate::value::{Kind, Setting};

/// One key of the configuration file.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// Title of its section, as in the documentation.
    pub section: &'static str,
    pub kind: Kind,
    pub status: Status,
    pub reload: Reload,
    pub origin: Origin,
    /// What it does, in one or two sentences.
    pub meaning: &'static str,
    /// Set where our default is not that of the original.
    pub deviation: Option<Deviation>,
    /// Where code finds it: the section's field of [`Settings`], and its own field there.
    pub place: (&'static str, &'static str),
    pub(crate) read: fn(&Settings) -> &dyn Setting,
    pub(crate) write: fn(&mut Settings) -> &mut dyn Setting,
}

/// What setting a key does in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Effective,
    /// Stored; takes effect once the named feature is there.
    NotYet(&'static str),
    /// Accepted, without effect; with the reason.
    Unused(&'static str),
    /// Accepted, without effect; something else does its work.
    Superseded(&'static str),
    /// Belongs to something this product does differently.
    Unsupported(&'static str),
    /// Older name of another key.
    Synonym(&'static str),
}

/// When a changed value is taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// At the next reload.
    Live,
    /// When the process starts.
    Restart,
}

/// Where a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Original,
    New,
}

/// A default that differs from that of the original, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deviation {
    pub original: &'static str,
    pub reason: &'static str,
}

/// User names that are read through `${NAME}` like the secrets they belong to.
const EXPANDED_NAMES: &[&str] = &["HTTPAuthUser", "MySQLOrchestratorUser", "MySQLTopologyUser", "OAuthClientId"];

impl Key {
    /// Whether the value is masked wherever it is shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }

    /// Whether `${NAME}` in the value is replaced from the environment.
    pub fn expands(&self) -> bool {
        self.is_secret() || EXPANDED_NAMES.contains(&self.name)
    }

    /// The value as JSON, secrets masked.
    pub fn shown(&self, settings: &Settings) -> Value {
        (self.read)(settings).shown()
    }

    pub(crate) fn same(&self, one: &Settings, other: &Settings) -> bool {
        (self.read)(one).raw() == (self.read)(other).raw()
    }
}

/// Declares a section: the struct, its defaults and its rows in the table of keys.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $section:ident in $place:ident, $title:literal;
        $(
            $field:ident : $ty:ty = $default:expr => $name:literal $(($origin:ident))?,
            $status:ident $(($of:literal))?, $reload:ident, $meaning:literal
            $(, was $was:literal because $why:literal)?;
        )*
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $section {
            $(#[doc = concat!("`", $name, "`: ", $meaning)] pub $field: $ty,)*
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        /// The rows of this section in the table of keys.
        pub(crate) const KEYS: &[$crate::key::Key] = &[$($crate::key::Key {
            name: $name,
            section: $title,
            kind: <$ty as $crate::value::Kinded>::KIND,
            status: $crate::key::Status::$status $(($of))?,
            reload: $crate::key::Reload::$reload,
            origin: $crate::key::section!(@origin $($origin)?),
            meaning: $meaning,
            deviation: $crate::key::section!(@deviation $($was, $why)?),
            place: (stringify!($place), stringify!($field)),
            read: |settings| &settings.$place.$field,
            write: |settings| &mut settings.$place.$field,
        },)*];
    };
    (@origin) => { $crate::key::Origin::Original };
    (@origin $origin:ident) => { $crate::key::Origin::$origin };
    (@deviation) => { None };
    (@deviation $was:literal, $why:literal) => {
        Some($crate::key::Deviation { original: $was, reason: $why })
    };
}
pub(crate) use section;
