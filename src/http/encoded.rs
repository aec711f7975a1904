//! Pictures as base64 in JSON.

use std::borrow::Cow;
use std::fmt;

use axum::body::Bytes;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::ApiError;
use super::pictures::Pictures;

/// Reads `{"image": base64}` or `{"images": [base64, …]}`; keeps one picture more than `count_max` at most. Takes long
/// for a large body.
pub fn read(bytes: &[u8], count_max: usize) -> Result<Pictures, ApiError> {
    let encoded = parse(bytes, count_max).map_err(|why| {
        ApiError::malformed(format!(
            r#"the JSON cannot be read: {why}; send {{"image": base64}} or {{"images": [base64, …]}}"#
        ))
    })?;
    let (many, texts) = match (encoded.image, encoded.images) {
        (Some(image), None) => (false, vec![image]),
        (None, Some(images)) if !images.is_empty() => (true, images),
        (None, Some(_)) => return Err(ApiError::malformed("`images` is empty: send at least one picture")),
        _ => return Err(ApiError::malformed("send either `image` or `images`")),
    };
    let files = texts.iter().enumerate().map(|(at, text)| decode(at, &text.0)).collect::<Result<_, _>>()?;
    Ok(Pictures { many, files })
}

fn parse(bytes: &[u8], count_max: usize) -> serde_json::Result<Encoded<'_>> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let encoded = json.deserialize_map(Body { count_max })?;
    json.end().map(|()| encoded)
}

fn decode(at: usize, text: &str) -> Result<Bytes, ApiError> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    if text.starts_with("http://") || text.starts_with("https://") {
        let message =
            format!("picture {at} is an address: the server fetches nothing; send the picture's bytes as base64");
        return Err(ApiError::malformed(message));
    }
    let wrong = |why| ApiError::malformed(format!("picture {at} is not standard base64: {why}"));
    LENIENT.decode(without_scheme(text)).map(Bytes::from).map_err(wrong)
}

/// Browsers write `data:image/png;base64,` before the base64 (RFC 2397).
fn without_scheme(text: &str) -> &str {
    let data = text.strip_prefix("data:").and_then(|rest| rest.split_once(','));
    data.filter(|(kind, _)| kind.ends_with(";base64")).map_or(text, |(_, base64)| base64)
}

/// A text that stays where it is when it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The two bodies.
#[derive(Default)]
struct Encoded<'a> {
    image: Option<Text<'a>>,
    images: Option<Vec<Text<'a>>>,
}

/// Takes an object, never a list of its values as derived code would.
struct Body {
    count_max: usize,
}

impl<'de> Visitor<'de> for Body {
    type Value = Encoded<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut encoded = Encoded::default();
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "image" if encoded.image.is_some() => return Err(A::Error::duplicate_field("image")),
                "images" if encoded.images.is_some() => return Err(A::Error::duplicate_field("images")),
                "image" => encoded.image = map.next_value()?,
                "images" => encoded.images = map.next_value_seed(List { count_max: self.count_max })?,
                other => return Err(A::Error::unknown_field(other, &["image", "images"])),
            }
        }
        Ok(encoded)
    }
}

/// Takes a list, or null for none; what is too many is read over.
struct List {
    count_max: usize,
}

impl<'de> DeserializeSeed<'de> for List {
    type Value = Option<Vec<Text<'de>>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List {
    type Value = Option<Vec<Text<'de>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while texts.len() <= self.count_max {
            let Some(text) = list.next_element()? else { return Ok(Some(texts)) };
            texts.push(text);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(texts))
    }
}
