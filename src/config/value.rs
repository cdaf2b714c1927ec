//! The types a key can have, and how a JSON value is laid over one.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::secret::Secret;
use crate::suggest;

/// What a masked secret looks like when shown.
pub(crate) const MASK: &str = "******";

/// The type of a key as the documentation names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Uint,
    Float,
    Text,
    Secret,
    List,
    Map,
    /// One word out of a fixed set.
    Choice(&'static [&'static str]),
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Float => "float",
            Kind::Text | Kind::Secret | Kind::Choice(_) => "string",
            Kind::List => "[string]",
            Kind::Map => "{string: string}",
        }
    }
}

/// Why a JSON value does not fit a key. The value itself is not repeated, except for words of a fixed set: it could be
/// a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mismatch {
    Type { expected: &'static str, found: String },
    Choice { given: String, nearest: Option<&'static str>, allowed: &'static [&'static str] },
}

/// A field that a JSON value can be laid over.
pub(crate) trait Setting {
    /// Takes the value up. `null` leaves scalars alone and empties lists and maps.
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch>;
    /// The value, secrets included: for comparison only.
    fn raw(&self) -> Value;
    /// The value for people: secrets masked.
    fn shown(&self) -> Value {
        self.raw()
    }
    /// The text to expand, where there is one.
    fn text_mut(&mut self) -> Option<&mut String> {
        None
    }
}

/// The `Kind` of a field's type.
pub(crate) trait Kinded {
    const KIND: Kind;
}

pub(crate) fn text(value: &str) -> String {
    value.to_string()
}

pub(crate) fn list(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(n) if n.as_u64().is_some() => "a whole number",
        Value::Number(n) if n.as_i64().is_some() => "a negative number",
        Value::Number(_) => "a number with a fraction or exponent, or too large",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong_type(expected: &'static str, value: &Value) -> Mismatch {
    Mismatch::Type { expected, found: describe(value).to_string() }
}

macro_rules! scalar {
    ($ty:ty, $kind:expr, $expected:literal, $read:expr) => {
        impl Kinded for $ty {
            const KIND: Kind = $kind;
        }

        impl Setting for $ty {
            fn assign(&mut self, value: &Value) -> Result<(), Mismatch> {
                if value.is_null() {
                    return Ok(());
                }
                let read: fn(&Value) -> Option<$ty> = $read;
                *self = read(value).ok_or_else(|| wrong_type($expected, value))?;
                Ok(())
            }

            fn raw(&self) -> Value {
                Value::from(*self)
            }
        }
    };
}

scalar!(bool, Kind::Bool, "true or false", Value::as_bool);
scalar!(i64, Kind::Int, "a whole number", Value::as_i64);
scalar!(u64, Kind::Uint, "a whole number, not negative", Value::as_u64);
scalar!(f64, Kind::Float, "a number", Value::as_f64);
scalar!(u16, Kind::Uint, "a port number up to 65535", |value| value.as_u64().and_then(|n| u16::try_from(n).ok()));

impl Kinded for String {
    const KIND: Kind = Kind::Text;
}

impl Setting for String {
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch> {
        match value {
            Value::Null => Ok(()),
            Value::String(text) => {
                self.clone_from(text);
                Ok(())
            }
            other => Err(wrong_type("a string", other)),
        }
    }

    fn raw(&self) -> Value {
        Value::from(self.as_str())
    }

    fn text_mut(&mut self) -> Option<&mut String> {
        Some(self)
    }
}

impl Kinded for Secret {
    const KIND: Kind = Kind::Secret;
}

impl Setting for Secret {
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch> {
        self.0.assign(value)
    }

    fn raw(&self) -> Value {
        self.0.raw()
    }

    fn shown(&self) -> Value {
        Value::from(if self.is_empty() { "" } else { MASK })
    }

    fn text_mut(&mut self) -> Option<&mut String> {
        Some(&mut self.0)
    }
}

fn entry_text(place: &str, value: &Value) -> Result<String, Mismatch> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(Mismatch::Type {
            expected: "only strings as its entries",
            found: format!("{} as {place}", describe(other)),
        }),
    }
}

impl Kinded for Vec<String> {
    const KIND: Kind = Kind::List;
}

impl Setting for Vec<String> {
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch> {
        *self = match value {
            Value::Null => Vec::new(),
            Value::Array(entries) => entries
                .iter()
                .enumerate()
                .map(|(index, entry)| entry_text(&format!("entry {}", index + 1), entry))
                .collect::<Result<_, _>>()?,
            other => return Err(wrong_type("a list of strings", other)),
        };
        Ok(())
    }

    fn raw(&self) -> Value {
        Value::from(self.clone())
    }
}

impl Kinded for BTreeMap<String, String> {
    const KIND: Kind = Kind::Map;
}

impl Setting for BTreeMap<String, String> {
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch> {
        match value {
            Value::Null => self.clear(),
            Value::Object(entries) => {
                let new: Vec<_> = entries
                    .iter()
                    .enumerate()
                    .map(|(index, (name, entry))| {
                        Ok((name.clone(), entry_text(&format!("value {}", index + 1), entry)?))
                    })
                    .collect::<Result<_, _>>()?;
                self.extend(new);
            }
            other => return Err(wrong_type("an object of strings", other)),
        }
        Ok(())
    }

    fn raw(&self) -> Value {
        self.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
    }
}

/// Finds a word of a fixed set, without regard to case.
pub(crate) fn choose<T: Copy>(
    value: &Value,
    words: &'static [&'static str],
    values: &[T],
) -> Result<Option<T>, Mismatch> {
    let given = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text,
        other => return Err(wrong_type("a string", other)),
    };
    let lower = given.to_lowercase();
    match words.iter().zip(values).find(|(word, _)| word.eq_ignore_ascii_case(&lower)) {
        Some((_, value)) => Ok(Some(*value)),
        None => Err(Mismatch::Choice {
            given: suggest::printable(given),
            nearest: suggest::nearest(given, words.iter().copied()),
            allowed: words,
        }),
    }
}

/// Declares an enumeration whose values are words in the file; several words may mean the same value, the first of a
/// value is how it is shown.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $shown:literal $(| $other:literal)*,)* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant,)* }

        impl $name {
            /// The word for it in the file.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $shown,)* }
            }
        }

        impl $crate::value::Kinded for $name {
            const KIND: $crate::value::Kind = $crate::value::Kind::Choice(&[$($shown, $($other,)*)*]);
        }

        impl $crate::value::Setting for $name {
            fn assign(&mut self, value: &serde_json::Value) -> Result<(), $crate::value::Mismatch> {
                const WORDS: &[&str] = &[$($shown, $($other,)*)*];
                const VALUES: &[$name] = &[$($name::$variant, $($crate::value::choice!(@same $other $name $variant),)*)*];
                if let Some(chosen) = $crate::value::choose(value, WORDS, VALUES)? {
                    *self = chosen;
                }
                Ok(())
            }

            fn raw(&self) -> serde_json::Value {
                serde_json::Value::from(self.word())
            }
        }
    };
    (@same $other:literal $name:ident $variant:ident) => { $name::$variant };
}
pub(crate) use choice;
