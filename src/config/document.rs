//! The text of one configuration file, as keys and values in the order written. The order matters: of two spellings of
//! one key the later wins, which a map would forget.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

#[derive(Debug)]
pub(crate) struct Document(pub(crate) Vec<(String, Value)>);

/// Reads the first JSON value of `bytes`; what follows it is not looked at. The message never repeats text of the file.
pub(crate) fn parse(bytes: &[u8]) -> Result<Document, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Document::deserialize(&mut deserializer).map_err(|error| {
        if error.is_data() {
            format!("the file does not begin with a JSON object (line {}, column {})", error.line(), error.column())
        } else {
            format!("this is not JSON: {error}")
        }
    })
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    /// `null` in place of the object sets nothing.
    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Document(entries))
    }
}
