//! A body's pictures: the whole body, the `image` fields of a form, or base64 in JSON. Content-Type only tells these
//! apart; what a picture is, its bytes say.

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};

use super::error::ApiError;
use super::faults::quoted;
use super::{encoded, off_runtime};

/// The pictures of a body, and whether the form of the request allows more than one.
#[derive(Debug, PartialEq, Eq)]
pub struct Pictures {
    /// Whether the answer is a list, however many there are.
    pub many: bool,
    /// At least one; one more than the limit at most.
    pub files: Vec<Bytes>,
}

/// Splits a body. Stops looking after more than `count_max` pictures: the caller refuses so many.
pub async fn split(headers: &HeaderMap, bytes: Bytes, count_max: usize) -> Result<Pictures, ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::malformed("the body is empty: send the bytes of a picture"));
    }
    let kind = headers.get(CONTENT_TYPE);
    match kind.map(media_type).as_deref() {
        Some("multipart/form-data") => from_form(kind.cloned(), bytes, count_max).await,
        Some("application/json") => off_runtime(move || encoded::read(&bytes, count_max)).await?,
        _ => Ok(Pictures { many: false, files: vec![bytes] }),
    }
}

fn media_type(value: &HeaderValue) -> String {
    let text = value.to_str().unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

async fn from_form(kind: Option<HeaderValue>, bytes: Bytes, count_max: usize) -> Result<Pictures, ApiError> {
    let mut request = Request::new(Body::from(bytes));
    request.headers_mut().extend(kind.map(|kind| (CONTENT_TYPE, kind)));
    // The body was read under a limit of its own.
    DefaultBodyLimit::disable().apply(&mut request);
    let broken = |why: String| ApiError::malformed(format!("the form cannot be read: {why}"));
    let mut form = Multipart::from_request(request, &()).await.map_err(|e| broken(e.body_text()))?;
    let mut files = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|e| broken(e.body_text()))? {
        if field.name() != Some("image") {
            let name = quoted(field.name().unwrap_or_default());
            return Err(ApiError::malformed(format!("the form has a field {name}: use `image` for every picture")));
        }
        files.push(field.bytes().await.map_err(|e| broken(e.body_text()))?);
        if files.len() > count_max {
            break;
        }
    }
    if files.is_empty() {
        return Err(ApiError::malformed("the form has no picture: send each in a field `image`"));
    }
    Ok(Pictures { many: true, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn parse(kind: &'static str, body: &'static str) -> Result<(bool, Vec<Bytes>), String> {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
        let pictures = split(&headers, Bytes::from_static(body.as_bytes()), 2).await;
        pictures.map(|p| (p.many, p.files)).map_err(|e| e.message)
    }

    fn files(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    #[tokio::test]
    async fn the_form_of_the_request_decides_whether_there_may_be_many() {
        assert_eq!(parse("application/x-www-form-urlencoded", "abc").await, Ok((false, files(&["abc"]))));
        assert_eq!(parse("application/json; charset=utf-8", r#"{"image":"YWI="}"#).await, Ok((false, files(&["ab"]))));
        let uri = r#"{"image":"data:image/png;base64,YWI="}"#;
        assert_eq!(parse("application/json", uri).await, Ok((false, files(&["ab"]))));
        assert_eq!(parse("Application/JSON", r#"{"images":["YWI"]}"#).await, Ok((true, files(&["ab"]))));
        let form = "--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\nab\r\n--x--\r\n";
        assert_eq!(parse("multipart/form-data; boundary=x", form).await, Ok((true, files(&["ab"]))));
    }

    #[tokio::test]
    async fn pictures_above_the_limit_are_not_kept() {
        let json = r#"{"images":["YQ","Yg","Yw","ZA","not base64"]}"#;
        assert_eq!(parse("application/json", json).await, Ok((true, files(&["a", "b", "c"]))));
    }

    #[tokio::test]
    async fn a_body_that_cannot_be_split_says_why() {
        for (kind, body, part) in [
            ("", "", "the body is empty"),
            ("application/json", "{", "the JSON cannot be read"),
            ("application/json", r#"["YQ"]"#, "invalid type: sequence"),
            ("application/json", r#"{"image":"YQ"} x"#, "the JSON cannot be read"),
            ("application/json", r#"{"image":"YQ","image":"YQ"}"#, "duplicate field `image`"),
            ("application/json", r#"{"picture":"YQ"}"#, "unknown field `picture`"),
            ("application/json", r#"{"image":"YQ","images":["YQ"]}"#, "either `image` or `images`"),
            ("application/json", "{}", "either `image` or `images`"),
            ("application/json", r#"{"images":[]}"#, "`images` is empty"),
            ("application/json", r#"{"images":["YQ","?"]}"#, "picture 1 is not standard base64"),
            ("application/json", r#"{"image":"data:image/png,YQ"}"#, "picture 0 is not standard base64"),
            ("application/json", r#"{"image":"https://example.org/a.png"}"#, "the server fetches nothing"),
            ("multipart/form-data", "x", "the form cannot be read"),
            ("multipart/form-data; boundary=x", "--x--\r\n", "the form has no picture"),
            (
                "multipart/form-data; boundary=x",
                "--x\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\na",
                "form",
            ),
            (
                "multipart/form-data; boundary=x",
                "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\na\r\n--x--\r\n",
                "the form has a field `file`",
            ),
        ] {
            let error = parse(kind, body).await.expect_err(body);
            assert!(error.contains(part), "{error}");
        }
    }
}
