//! Which pages may call, by the origin that their browser names. Others are refused here too, and not by their browser alone: a
//! name that leads to this machine since the page was loaded makes it a page of this node to the browser.
//!
//! | origin of the page | may call |
//! | --- | --- |
//! | one of `cors.origins` | yes |
//! | the node's own, and callers must have a credential (`[auth]`) | yes |
//! | the node's own, and its host is an IP address or `localhost` | yes: such a name leads nowhere else |
//! | the node's own under a name of the DNS, without `[auth]` | no: whoever has the name decides where it leads |
//! | any other | no |
//!
//! A page that asks for its own node by GET names no origin, so that without `[auth]` no rpc is called by GET under a name of the DNS.

use std::{net::IpAddr, sync::Arc};

use hyper::{
    Method, Request,
    header::{self, HeaderValue},
};
use tower_http::cors::CorsLayer;

/// A name that no DNS is asked for.
const LOCAL: &str = "localhost";

/// Who is answered that a page may call.
#[derive(Debug, Clone)]
pub(super) struct Origins {
    /// Pages of other sites; `None` = none.
    pub(super) others: Option<Others>,
    /// Callers need a credential, which a page has to know.
    pub(super) is_auth_asked: bool,
    /// The listeners speak TLS.
    pub(super) is_tls: bool,
}

/// Pages of other sites that may call.
#[derive(Debug, Clone)]
pub(super) struct Others {
    /// `None` = any.
    pub(super) origins: Option<Arc<[HeaderValue]>>,
    pub(super) cors: CorsLayer,
}

/// What becomes of a call from a page.
#[derive(Debug, Clone, Copy)]
pub(super) enum Judged<'a> {
    /// A page of this node.
    Own,
    /// The headers of the answer say for its browser that it may, too.
    Other(&'a CorsLayer),
    Refused(&'static str),
}

impl Origins {
    /// Of a request whose browser names this origin.
    pub(super) fn judge<B>(&self, origin: &HeaderValue, request: &Request<B>) -> Judged<'_> {
        if let Some(others) = &self.others
            && others.origins.as_ref().is_none_or(|origins| origins.contains(origin))
        {
            return Judged::Other(&others.cors);
        }
        let Some(host) = authority(request).filter(|host| self.is_own(origin, host)) else {
            return Judged::Refused("no page of this origin may call: cors.origins does not name it\n");
        };
        if self.is_auth_asked || is_fixed(host) {
            return Judged::Own;
        }
        Judged::Refused(
            "a page under this name may not call, because callers need no credential and a name may be led to this node by \
             others: open it under the IP address of the node or localhost, set [auth], or name its origin in cors.origins\n",
        )
    }

    /// Of a request that names no origin: why it is refused. What is not a POST may be a page of this node to its browser.
    pub(super) fn refused<B>(&self, request: &Request<B>) -> Option<&'static str> {
        let may_be_a_page = !self.is_auth_asked && request.method() != Method::POST;
        (may_be_a_page && authority(request).is_some_and(|host| !is_fixed(host))).then_some(
            "under this name an rpc is called by POST, because callers need no credential and a page may be led to this node \
             under it: call it under the IP address of the node or localhost, or set [auth]\n",
        )
    }

    /// Whether a page of this origin came from `host`, as far as this node can know. What speaks in the clear may stand behind a
    /// proxy that ends TLS; behind TLS a page that came in the clear is not the node's.
    fn is_own(&self, origin: &HeaderValue, host: &str) -> bool {
        let Some((scheme, of)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
        let is_scheme = scheme == "https" || (scheme == "http" && !self.is_tls);
        is_scheme && of.eq_ignore_ascii_case(host)
    }
}

/// The host that the request is for, with its port where that is not the usual one.
fn authority<B>(request: &Request<B>) -> Option<&str> {
    let of_uri = request.uri().authority().map(|authority| authority.as_str());
    of_uri.or_else(|| request.headers().get(header::HOST)?.to_str().ok())
}

/// Whether nobody else decides where the host leads.
fn is_fixed(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case(LOCAL) || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(is_auth_asked: bool, is_tls: bool, origin: &str, host: &str) -> bool {
        let origins = Origins { others: None, is_auth_asked, is_tls };
        let request = Request::builder().uri("/a.b/C").header("host", host).body(()).unwrap();
        matches!(origins.judge(&HeaderValue::from_str(origin).unwrap(), &request), Judged::Own)
    }

    #[test]
    fn a_page_of_the_node_may_call_where_its_name_cannot_be_led_elsewhere() {
        for host in ["127.0.0.1:7071", "[::1]:7071", "10.0.0.7:7071", "localhost:7071", "LocalHost:7071", "127.0.0.1"] {
            assert!(may(false, false, &format!("http://{host}"), host), "{host}");
            assert!(may(false, false, &format!("https://{host}"), host), "behind a proxy: {host}");
        }
        for host in ["gate.internal:7071", "localhost.evil.example:7071", "127.0.0.1.evil.example", "127.1", "[::1", ""]
        {
            assert!(!may(false, false, &format!("http://{host}"), host), "{host}");
        }
    }

    #[test]
    fn with_credentials_a_page_of_the_node_may_call_under_any_name() {
        assert!(may(true, false, "http://gate.internal:7071", "gate.internal:7071"));
        assert!(may(true, true, "https://gate.internal:7071", "gate.internal:7071"));
        assert!(may(true, true, "https://gate.internal", "gate.internal"));
        assert!(!may(true, true, "http://gate.internal:7071", "gate.internal:7071"), "what came in the clear");
    }

    #[test]
    fn without_credentials_a_get_is_for_names_that_cannot_be_led_elsewhere() {
        let refused = |is_auth_asked, method: Method, host: &str| {
            let origins = Origins { others: None, is_auth_asked, is_tls: false };
            let request = Request::builder().method(method).uri("/a.b/C").header("host", host).body(()).unwrap();
            origins.refused(&request).is_some()
        };
        assert!(refused(false, Method::GET, "evil.example:7071"));
        assert!(refused(false, Method::HEAD, "evil.example:7071"));
        assert!(!refused(false, Method::GET, "127.0.0.1:7071"));
        assert!(!refused(false, Method::GET, "localhost"));
        assert!(!refused(false, Method::POST, "gate.internal:7071"), "its browser would name the origin");
        assert!(!refused(true, Method::GET, "gate.internal:7071"), "a page has to know a token");
    }

    #[test]
    fn a_page_of_another_origin_may_not() {
        for origin in
            ["http://evil.example", "http://127.0.0.1:8080", "http://127.0.0.1", "null", "file://", "127.0.0.1:7071"]
        {
            for is_auth_asked in [false, true] {
                assert!(!may(is_auth_asked, false, origin, "127.0.0.1:7071"), "{origin}");
            }
        }
    }

    #[test]
    fn over_http_2_the_host_is_in_the_path_of_the_request() {
        let origins = Origins { others: None, is_auth_asked: false, is_tls: false };
        let origin = HeaderValue::from_static("http://127.0.0.1:7071");
        let request = Request::builder().uri("http://127.0.0.1:7071/a.b/C").body(()).unwrap();
        assert!(matches!(origins.judge(&origin, &request), Judged::Own));
        let nameless = Request::builder().uri("/a.b/C").body(()).unwrap();
        assert!(matches!(origins.judge(&origin, &nameless), Judged::Refused(_)));
    }
}
