//! Who may call what: a pure decision, and the layer that asks it.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::error::{ApiError, ErrorType};
use super::keys::{Keyring, Role};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Whoever may classify.
    Inference,
    /// Whoever may manage.
    Admin,
}

/// The address that a connection's listener was bound to. One bound to every address is not local, whichever of them
/// the caller reached: what else comes in through it (a proxy, a published port) may look local too.
#[derive(Clone, Copy, Debug)]
pub struct LocalAddress(pub SocketAddr);

/// Where management is offered without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A caller on this machine that no browser page or proxy stands behind.
    Local,
    /// Any other.
    Elsewhere,
}

const FORWARDED: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];

/// Lets a request pass or answers for it.
pub async fn guard(State((app, access)): State<(App, Access)>, request: Request, next: Next) -> Response {
    let local = request.extensions().get::<LocalAddress>().map(|local| local.0.ip());
    let origin = origin(local, request.uri(), request.headers());
    match decide(access, &app.keys, bearer(request.headers()), origin) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn decide(access: Access, keys: &Keyring, key: Option<&str>, origin: Origin) -> Result<(), ApiError> {
    let needed = match access {
        Access::Open => return Ok(()),
        Access::Inference => Role::Inference,
        Access::Admin => Role::Admin,
    };
    if !keys.has(needed) {
        return match (needed, origin) {
            (Role::Inference, _) | (Role::Admin, Origin::Local) => Ok(()),
            (Role::Admin, Origin::Elsewhere) => Err(ApiError::new(
                ErrorType::ManagementDisabled,
                "management is off for this caller: start the server with --admin-key-file, or let it listen on a \
                 loopback address and call it from its own machine, without a proxy or a browser page",
            )),
        };
    }
    let Some(key) = key else {
        return Err(ApiError::new(ErrorType::Unauthorized, "send a key: `Authorization: Bearer <key>`"));
    };
    match keys.role(key) {
        Some(role) if role >= needed => Ok(()),
        Some(_) => Err(ApiError::new(ErrorType::Forbidden, "this key may classify and not manage: send an admin key")),
        None => Err(ApiError::new(ErrorType::Unauthorized, "the key is not known here: check it, or ask the operator")),
    }
}

/// The key of `Authorization: Bearer <key>`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn origin(local: Option<IpAddr>, uri: &Uri, headers: &HeaderMap) -> Origin {
    let proxied = headers.contains_key(ORIGIN) || FORWARDED.iter().any(|name| headers.contains_key(*name));
    let host = uri.authority().map(|authority| authority.host()).or_else(|| host(headers));
    let local = local.is_some_and(|ip| ip.to_canonical().is_loopback()) && host.is_some_and(is_loopback) && !proxied;
    if local { Origin::Local } else { Origin::Elsewhere }
}

/// The host of the one `Host` header, without its port.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(HOST).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let host = only.to_str().ok()?;
    match host.rsplit_once(':') {
        // The last colon of `[::1]` is no port's.
        Some((name, port)) if !port.contains(']') => Some(name),
        _ => Some(host),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Keys, Secret};
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (name.parse().expect("a name"), HeaderValue::from_static(value))
        };
        pairs.iter().map(header).collect()
    }

    #[test]
    fn only_a_plain_loopback_call_is_local() {
        let loopback: Option<IpAddr> = Some([127, 0, 0, 1].into());
        let uri = Uri::from_static("/v1/tasks/a");
        for host in ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1:80", "127.9.9.9", "[::1]:80", "[::1]"] {
            let headers = [(HOST, HeaderValue::from_static(host))].into_iter().collect();
            assert_eq!(origin(loopback, &uri, &headers), Origin::Local, "{host}");
        }
        for host in ["example.org", "localhost.example.org", "127.0.0.1.example.org", "10.0.0.1", "", "[::2]:80"] {
            let headers = [(HOST, HeaderValue::from_static(host))].into_iter().collect();
            assert_eq!(origin(loopback, &uri, &headers), Origin::Elsewhere, "{host}");
        }
        let local = |extra: &[(&'static str, &'static str)]| {
            origin(loopback, &uri, &headers(&[&[("host", "localhost")], extra].concat()))
        };
        assert_eq!(local(&[]), Origin::Local);
        for name in FORWARDED {
            assert_eq!(local(&[(name, "x")]), Origin::Elsewhere, "{name}");
        }
        assert_eq!(local(&[("origin", "http://localhost:8080")]), Origin::Elsewhere);
        assert_eq!(origin(loopback, &uri, &headers(&[])), Origin::Elsewhere, "no Host at all");
        let listener: Option<IpAddr> = Some([192, 168, 0, 1].into());
        assert_eq!(origin(listener, &uri, &headers(&[("host", "localhost")])), Origin::Elsewhere);
        let absolute = Uri::from_static("http://example.org/v1/tasks/a");
        assert_eq!(origin(loopback, &absolute, &headers(&[("host", "localhost")])), Origin::Elsewhere);
    }

    #[test]
    fn keys_decide_where_there_are_keys() {
        let ring = |admin: Option<&str>, inference: Option<&str>| {
            let secret = |key: Option<&str>| key.map(|key| Secret(key.to_owned()));
            let keys = Keys { admin: secret(admin), inference: secret(inference), ..Keys::default() };
            Keyring::load(&keys).expect("no files")
        };
        let kind = |ring: &Keyring, access, key, origin| decide(access, ring, key, origin).err().map(|e| e.kind);
        let none = ring(None, None);
        assert_eq!(kind(&none, Access::Inference, None, Origin::Elsewhere), None);
        assert_eq!(kind(&none, Access::Admin, None, Origin::Local), None);
        assert_eq!(kind(&none, Access::Admin, None, Origin::Elsewhere), Some(ErrorType::ManagementDisabled));
        let both = ring(Some("boss"), Some("reader"));
        assert_eq!(kind(&both, Access::Admin, None, Origin::Local), Some(ErrorType::Unauthorized));
        assert_eq!(kind(&both, Access::Admin, Some("reader"), Origin::Local), Some(ErrorType::Forbidden));
        assert_eq!(kind(&both, Access::Admin, Some("boss"), Origin::Elsewhere), None);
        assert_eq!(kind(&both, Access::Inference, Some("boss"), Origin::Elsewhere), None);
        assert_eq!(kind(&both, Access::Inference, Some("other"), Origin::Local), Some(ErrorType::Unauthorized));
        assert_eq!(kind(&both, Access::Open, None, Origin::Elsewhere), None);
        let reader = ring(None, Some("reader"));
        assert_eq!(
            kind(&reader, Access::Admin, Some("reader"), Origin::Elsewhere),
            Some(ErrorType::ManagementDisabled)
        );
    }

    #[test]
    fn the_scheme_is_bearer() {
        assert_eq!(bearer(&headers(&[("authorization", "Bearer k")])), Some("k"));
        assert_eq!(bearer(&headers(&[("authorization", "bearer  k")])), Some("k"));
        assert_eq!(bearer(&headers(&[("authorization", "Basic k")])), None);
        assert_eq!(bearer(&headers(&[("authorization", "k")])), None);
    }
}
