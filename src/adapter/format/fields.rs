use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::problem::{Problem, Problems};

/// Takes values out of a map by key; faults are gathered, and what is left at the end was not known.
pub(super) struct Fields<'p, V> {
    /// Prefix of every place, empty at the top.
    place: &'static str,
    left: BTreeMap<String, V>,
    problems: &'p mut Problems,
}

impl<'p> Fields<'p, String> {
    /// The container's metadata.
    pub fn metadata(metadata: &BTreeMap<String, String>, problems: &'p mut Problems) -> Self {
        Self { place: "", left: metadata.clone(), problems }
    }

    /// A word of an enum, written without JSON's quotes.
    pub fn word<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        self.required(key, |text| serde_json::from_value(Value::String(text)))
    }

    /// JSON text.
    pub fn json<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        self.required(key, |text| serde_json::from_str(&text))
    }

    /// JSON text of at most so many bytes, null when absent.
    pub fn free(&mut self, key: &str, bytes_max: usize) -> Option<Value> {
        let bytes = self.left.get(key).map(String::len);
        if let Some(bytes) = bytes.filter(|&bytes| bytes > bytes_max) {
            self.left.remove(key);
            let expected = format!("at most {bytes_max} bytes");
            self.problems.push(Problem::new(key, "too long").expected(expected).found(bytes));
            return None;
        }
        if bytes.is_some() { self.json(key) } else { Some(Value::Null) }
    }

    /// A JSON object, read key by key by `read`, which gets its fields.
    pub fn object<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Fields<'_, Value>) -> Option<T>,
    ) -> Option<T> {
        let Unique(object) = self.json(key)?;
        let mut fields = Fields { place: key, left: object.into_iter().collect(), problems: self.problems };
        let value = read(&mut fields);
        fields.refuse_rest();
        value
    }

    /// What was not taken.
    pub fn rest(self) -> BTreeMap<String, String> {
        self.left
    }
}

impl Fields<'_, Value> {
    /// A value that must be there.
    pub fn value<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        self.required(key, serde_json::from_value)
    }

    /// A value that may be absent (`Some(None)`); `None` is a fault.
    pub fn optional<T: DeserializeOwned>(&mut self, key: &str) -> Option<Option<T>> {
        if self.left.contains_key(key) { self.value(key).map(Some) } else { Some(None) }
    }

    fn refuse_rest(self) {
        for key in self.left.keys() {
            let place = format!("{}.{key}", self.place);
            self.problems.push(Problem::new(place, "unknown key; ignoring it could change answers"));
        }
    }
}

impl<V> Fields<'_, V> {
    fn required<T>(&mut self, key: &str, parse: impl FnOnce(V) -> Result<T, serde_json::Error>) -> Option<T>
    where
        V: fmt::Display + Clone,
    {
        let place = if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) };
        let Some(value) = self.left.remove(key) else {
            self.problems.push(Problem::new(place, "missing key"));
            return None;
        };
        let found = value.clone();
        parse(value).map_err(|error| self.problems.push(unfit(place, &error).found(found))).ok()
    }
}

/// The parser's words, without its position and split into problem and expectation.
fn unfit(place: String, error: &serde_json::Error) -> Problem {
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    match words.split_once(", expected ") {
        Some((_, "usize")) => Problem::new(place, "unfit value").expected("a whole number"),
        Some((_, "u8")) => Problem::new(place, "unfit value").expected("whole numbers from 0 to 255"),
        Some((_, expected)) => Problem::new(place, "unknown value").expected(expected),
        None => Problem::new(place, format!("not valid: {words}")),
    }
}

/// A JSON object without repeated keys.
struct Unique(Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Unique(Map::new()))
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if self.0.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` appears twice")));
            }
            self.0.insert(key, value);
        }
        Ok(self)
    }
}
