//! `[cluster]`: nodes that share a store, and every way in which one is not described.

use super::*;

const URL: &str = "[cluster]\npostgres_urls = [\"postgres://u:secret@h/d\"]\n";

#[test]
fn a_node_among_others_says_where_they_meet_and_how_they_reach_it() {
    let config = good(&format!("{URL}advertise = \"n1.internal:7072\"\nadvertise_grpc = \"[::1]:7070\"\nweight = 3\n"));
    assert_eq!(config.listen.peer.to_string(), "127.0.0.1:7072");
    assert!(!format!("{config:?}").contains("secret"));
    let cluster = config.cluster.unwrap();
    assert_eq!(cluster.postgres_urls[0].reveal(), "postgres://u:secret@h/d");
    assert_eq!((cluster.advertise.as_deref(), cluster.weight.get()), (Some("n1.internal:7072"), 3));
    assert_eq!((cluster.advertise_grpc.as_deref(), cluster.tls), (Some("[::1]:7070"), None));
    let plain = good(URL).cluster.unwrap();
    assert_eq!((plain.advertise, plain.weight.get()), (None, 1));
    let tls = "[cluster.tls]\ncert = \"c\"\nkey = \"k\"\nca = \"a\"\n";
    let files = good(&format!("[listen]\npeer = \"0.0.0.0:7072\"\n{URL}{tls}")).cluster.unwrap().tls.unwrap();
    assert_eq!(files.ca.to_str(), Some("a"));
    assert_eq!(Config::default().cluster, None, "a node is alone");
}

#[test]
fn what_is_missing_or_wrong_is_named_and_no_password_is() {
    for (text, expected) in [
        (
            "[cluster]\nweight = 2\n".to_owned(),
            "cluster.postgres_urls \"\" is not allowed: a list of 1 to 64 postgres://",
        ),
        ("[cluster]\npostgres_urls = []\n".to_owned(), "cluster.postgres_urls"),
        ("[cluster]\npostgres_urls = \"postgres://u:secret@h/d\"\n".to_owned(), "cluster.postgres_urls \"***\""),
        ("[cluster]\npostgres_urls = [\"postgres://u:secret@h/d\", 7]\n".to_owned(), "a list of 1 to 64 postgres://"),
        (
            "[cluster]\npostgres_urls = [\"postgres://u:secret@h/d\", \"postgres://u:secret@h/d\"]\n".to_owned(),
            "no two alike",
        ),
        (format!("{URL}weight = 0\n"), "cluster.weight \"0\" is not allowed: a whole number from 1 to 1000"),
        (format!("{URL}advertise = \"n1\"\n"), "cluster.advertise \"n1\" is not allowed: HOST:PORT"),
        (format!("{URL}advertise_grpc = \"n1:0\"\n"), "cluster.advertise_grpc"),
        (format!("{URL}node = \"n1\"\n"), "cluster.node is not a known key"),
        (
            format!("[listen]\npeer = \"0.0.0.0:7072\"\n{URL}"),
            "cluster.tls \"\" is not allowed: [cluster.tls] with cert",
        ),
        (format!("{URL}[cluster.tls]\ncert = \"c\"\n"), "cluster.tls.key \"\" is not allowed"),
    ] {
        let found = errors(&text);
        assert!(found.contains(expected) && !found.contains("secret"), "{found}\nin\n{text}");
    }
}
