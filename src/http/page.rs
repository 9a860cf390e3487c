//! The dashboard: one page and its files, which are built from `web/` and embedded (`build.rs`). It is a client of the rpcs like
//! any other, and nothing here knows what it asks.
//!
//! The page is not kept by browsers, and its files are for ever: their names have a digest of what is in them. Nothing is loaded
//! from elsewhere, and the policy says so to the browser: no script, style or connection but the node's own.

use axum::{
    Router,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// One file of the page.
struct File {
    /// Under which it is served.
    path: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Where the page is: it shows what the rest of the path says.
const PLACES: [&str; 5] = ["/", "/orgs", "/orgs/{*org}", "/cluster", "/events"];
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
const ALWAYS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::VARY, "accept-encoding"),
];
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The page under each of its places, and its files.
pub(super) fn routes() -> Router {
    let router = PLACES.into_iter().fold(Router::new(), |router, place| {
        router.route(place, get(|headers: HeaderMap| std::future::ready(answer(&INDEX, "no-cache", &headers))))
    });
    FILES.iter().fold(router, |router, file| {
        router.route(file.path, get(move |headers: HeaderMap| std::future::ready(answer(file, FOR_EVER, &headers))))
    })
}

fn answer(file: &'static File, kept: &'static str, asked: &HeaderMap) -> Response {
    let about = [(header::CONTENT_TYPE, file.kind), (header::CACHE_CONTROL, kept)];
    if takes_gzip(asked) {
        (StatusCode::OK, ALWAYS, about, [(header::CONTENT_ENCODING, "gzip")], file.gzip).into_response()
    } else {
        (StatusCode::OK, ALWAYS, about, file.plain).into_response()
    }
}

/// Whether the client takes gzip: it names it, and not to refuse it.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let named = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = named
        .flat_map(|value| value.split(','))
        .map(|coding| coding.trim().split_once(';').unwrap_or((coding.trim(), "")));
    codings.any(|(name, weight)| {
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, header::HeaderValue::from_static(text));
        takes_gzip(&headers)
    }

    #[test]
    fn only_who_takes_gzip_gets_it() {
        for text in ["gzip", "br, gzip", "deflate, GZIP;q=0.5", "gzip ; q=1"] {
            assert!(accepts(text), "{text}");
        }
        for text in ["", "br", "identity", "gzip;q=0", "gzip;q=0.0, br", "xgzip", "gzip;q=often"] {
            assert!(!accepts(text), "{text}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn the_policy_of_the_page_allows_nothing_unsafe_and_the_page_needs_nothing_of_it() {
        assert!(!POLICY.contains("unsafe") && POLICY.starts_with("default-src 'none'"));
        let index = std::str::from_utf8(INDEX.plain).unwrap();
        for inline in ["style=", "<style", "onload", "javascript:", "http://", "https://"] {
            assert!(!index.contains(inline), "{inline} in {index}");
        }
        for file in FILES {
            assert!(file.path.starts_with("/assets/"), "{}", file.path);
            assert!(index.contains(file.path), "{} is embedded and not used", file.path);
        }
        assert!(FILES.iter().any(|file| file.kind.starts_with("text/javascript")));
    }
}
