//! What the question of a gateway means: where a request that a proxy holds back names its org and scopes, and what is charged
//! for it. Envoy says it in the entries of a descriptor, other proxies in the headers and the path of the request itself.

use std::collections::BTreeMap;

use super::ids::Amounts;

/// Envoy, in metrics and as the plane of its calls.
pub const ENVOY: &str = "envoy";
/// The same of forward authentication.
pub const FORWARD_AUTH: &str = "forward-auth";

/// Every rule. Callers name theirs, and no others are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gateways {
    /// By the domain of Envoy's rate-limit filter; a place is the key of an entry.
    pub envoy: BTreeMap<String, Rule<String>>,
    /// By the name in `/v1/forward-auth?rule=NAME`.
    pub forward_auth: BTreeMap<String, Rule<Place>>,
}

/// What a question becomes. `P` is where a value of it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule<P> {
    /// Where the org is; a request without it names none.
    pub org: P,
    /// Scopes by what they begin with: `workspace` with the value `w1` is `workspace/w1`. A request that has no value is in no
    /// such scope.
    pub scopes: BTreeMap<String, P>,
    /// Where what makes a retry safe is, if the gateway sends such a thing.
    pub request_id: Option<P>,
    /// What one request is charged.
    pub cost: Amounts,
    /// The name of the limit that headers show; `None` = the one that is nearest to its end.
    pub limit: Option<String>,
    /// Charges, reports, and never denies.
    pub is_shadow: bool,
}

/// Where a value stands in a request that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the header of this name, in lower case.
    Header(String),
    /// In the path.
    Path(PathPattern),
    /// The one org of the credential that the client has sent; only of an org.
    Token,
}

/// `/orgs/*/workspaces/{}`: segments as they are, `*` for any one, `{}` for the one that is the value. What follows is not
/// read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Is(String),
    Any,
    Value,
}

impl PathPattern {
    /// What a pattern may be.
    pub const RULE: &str =
        "a path such as \"/orgs/{}\" or \"/orgs/*/workspaces/{}\": one {} is the value, * is any segment";

    /// `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let segments = text.strip_prefix('/')?.split('/').map(|segment| match segment {
            "*" => Some(Segment::Any),
            "{}" => Some(Segment::Value),
            other if other.is_empty() || other.contains(['*', '{', '}', '?', '#', '%', '\\']) || is_dots(other) => None,
            other => Some(Segment::Is(other.to_owned())),
        });
        let segments: Vec<_> = segments.collect::<Option<_>>()?;
        let values = segments.iter().filter(|segment| **segment == Segment::Value).count();
        (values == 1).then_some(Self(segments))
    }

    /// The segment that is the value, as it is written; `None` where the path is another one. Only of a path that is
    /// [plain](Self::is_plain).
    pub fn value<'p>(&self, path: &'p str) -> Option<&'p str> {
        let mut found = None;
        let mut rest = self.0.iter();
        for segment in path.strip_prefix('/')?.split('/') {
            match rest.next() {
                Some(Segment::Is(expected)) if expected != segment => return None,
                Some(Segment::Value | Segment::Any) if segment.is_empty() => return None,
                Some(Segment::Value) => found = Some(segment),
                Some(Segment::Is(_) | Segment::Any) | None => {}
            }
        }
        found.filter(|_| rest.next().is_none())
    }

    /// Whether every server takes the path for what it looks like. One that goes up (`/a/../b`), has a slash written in another
    /// way, or parameters in a segment (`/a;x=1`, `/..;/`), is another path to some of them.
    pub fn is_plain(path: &str) -> bool {
        let path = path.to_ascii_lowercase();
        let is_written_twice = ["\\", "%2f", "%5c", ";", "%3b"].iter().any(|written| path.contains(written));
        !is_written_twice && !path.split('/').any(is_dots)
    }
}

/// Whether a server goes up or stays where it is at this segment, however the dots are written.
fn is_dots(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_finds_one_segment_and_nothing_in_another_path() {
        let pattern = |text| PathPattern::parse(text).unwrap();
        for (text, path, expected) in [
            ("/orgs/{}", "/orgs/acme", Some("acme")),
            ("/orgs/{}", "/orgs/acme/", Some("acme")),
            ("/orgs/{}", "/orgs/acme/keys/1", Some("acme")),
            ("/{}/api", "/acme/api/x", Some("acme")),
            ("/orgs/*/workspaces/{}", "/orgs/acme/workspaces/w1", Some("w1")),
            ("/orgs/*/workspaces/{}", "/orgs/acme", None),
            ("/orgs/{}", "/orgs", None),
            ("/orgs/{}", "/orgs/", None),
            ("/orgs/{}", "//orgs/acme", None),
            ("/orgs/{}", "/orgs//acme", None),
            ("/orgs/*/workspaces/{}", "/orgs//workspaces/w1", None),
            ("/orgs/{}", "/Orgs/acme", None),
            ("/orgs/{}", "orgs/acme", None),
            ("/orgs/{}", "", None),
        ] {
            assert_eq!(pattern(text).value(path), expected, "{text} in {path}");
        }
    }

    #[test]
    fn a_path_that_a_server_may_take_for_another_one_is_not_plain() {
        for path in [
            "/orgs/acme/../beta",
            "/orgs/acme/%2e%2E/beta",
            "/orgs/./acme",
            "/orgs/..",
            "/orgs/acme/.%2e/x",
            "/orgs/acme/..%2f..%2Forgs%2fbeta",
            "/orgs/acme/x%5C..%5c..%5cbeta",
            "/orgs/acme/x\\..\\..\\beta",
            "/orgs/acme/..;/..;/orgs/beta",
            "/orgs/acme;1",
            "/orgs/acme%3B1",
        ] {
            assert!(!PathPattern::is_plain(path), "{path}");
        }
        for path in ["/orgs/acme/.well-known/...", "/", "", "/orgs/acme/a%20b/c,d=1:2@3"] {
            assert!(PathPattern::is_plain(path), "{path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "orgs/{}",
            "/orgs",
            "/orgs/*",
            "/{}/{}",
            "/orgs/{}/",
            "/orgs//{}",
            "/orgs/{org}",
            "/../{}",
            "/a%20b/{}",
        ] {
            assert_eq!(PathPattern::parse(text), None, "{text}");
        }
    }
}
