//! Tokens that are good, and every way in which one is not.

use std::io::Write;

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::*;

const SUBJECT: &str = "system:serviceaccount:prod:plane";

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer's side: its keys, and the tokens that it signs.
enum Signer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Signer {
    fn ed25519(seed: u8) -> Self {
        Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn p256() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap())
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encoded(pair.public_key())})
            }
            Self::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": encoded(x), "y": encoded(y)})
            }
        }
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = match self {
            Self::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", encoded(signature))
    }

    fn token(&self, kid: &str, claims: &Value) -> String {
        let algorithm = if matches!(self, Self::Ed25519(_)) { "EdDSA" } else { "ES256" };
        self.signed(&json!({"alg": algorithm, "kid": kid, "typ": "JWT"}), claims)
    }
}

fn now() -> u64 {
    clock::wall() / 1_000
}

fn claims() -> Value {
    json!({"iss": "https://issuer", "sub": SUBJECT, "aud": ["other", "tollgate"], "exp": now() + 600})
}

/// The usual claims, with one of them changed.
fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn plane_of(orgs: &[&str]) -> Grant {
    Grant { role: Role::Plane, orgs: orgs.iter().map(ToString::to_string).collect(), scopes: vec![], bind: vec![] }
}

fn rules(subjects: &[(&str, Grant)], claim: Option<&str>) -> JwtRules {
    JwtRules {
        issuer: "https://issuer".into(),
        audience: "tollgate".into(),
        claim: claim.map(str::to_owned),
        subjects: Grants::new(subjects.iter().map(|(name, grant)| ((*name).to_owned(), grant.clone()))),
    }
}

struct Files {
    file: tempfile::NamedTempFile,
}

impl Files {
    fn of(keys: &[Value]) -> Self {
        let files = Self { file: tempfile::NamedTempFile::new().unwrap() };
        files.write(&json!({ "keys": keys }).to_string());
        files
    }

    fn write(&self, text: &str) {
        self.file.as_file().set_len(0).unwrap();
        let mut file = std::fs::File::create(self.file.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn issuer(&self, rules: JwtRules) -> Arc<Issuer> {
        Issuer::open(rules, KeySource::File(self.file.path().to_owned())).unwrap()
    }
}

/// An issuer with one key of each kind that can be made here, and every subject granted `acme`.
fn usual() -> (Arc<Issuer>, Signer, Signer) {
    let (ed25519, p256) = (Signer::ed25519(1), Signer::p256());
    let files = Files::of(&[ed25519.jwk("ed"), p256.jwk("ec")]);
    (files.issuer(rules(&[("*", plane_of(&["acme"]))], None)), ed25519, p256)
}

fn refused(issuer: &Issuer, token: &str) -> Refused {
    match issuer.verify(token) {
        Ok(principal) => panic!("{token} lets {principal:?} in"),
        Err(refused) => refused,
    }
}

#[tokio::test]
async fn a_good_token_is_its_subject_and_is_judged_once() {
    let (issuer, ed25519, p256) = usual();
    for (signer, kid) in [(&ed25519, "ed"), (&p256, "ec")] {
        let said = claims();
        let token = signer.token(kid, &said);
        let principal = issuer.verify(&token).unwrap();
        assert_eq!(principal.name(), format!("jwt:{SUBJECT}"));
        assert_eq!(principal.role(), Role::Plane);
        assert!(principal.orgs().covers("acme") && !principal.orgs().covers("beta"));
        assert_eq!(principal.ends_at(), Some(said["exp"].as_u64().unwrap() * 1_000 + JWT_LEEWAY_MS));
        assert!(Arc::ptr_eq(&principal, &issuer.verify(&token).unwrap()), "remembered");
    }
    assert!(issuer.verify(&ed25519.token("ed", &with("aud", "tollgate"))).is_ok());
    assert!(issuer.verify(&ed25519.token("ed", &with("nbf", now() + 20))).is_ok(), "clocks differ");
    assert!(issuer.verify(&ed25519.token("ed", &with("exp", now() - 20))).is_ok(), "clocks differ");
    let fraction = issuer.verify(&ed25519.token("ed", &with("exp", now() as f64 + 600.5)));
    assert!(fraction.is_ok());
}

/// Signed with the key of 2048 bits whose public half is here.
#[tokio::test]
async fn a_token_by_rs256_is_verified() {
    const KEY: &str = include_str!("rs256.json");
    const TOKEN: &str = include_str!("rs256.jwt");
    let files = Files::of(&[serde_json::from_str(KEY).unwrap()]);
    let issuer = files.issuer(rules(&[(SUBJECT, plane_of(&["*"]))], None));
    let token = TOKEN.trim();
    assert_eq!(issuer.verify(token).unwrap().name(), format!("jwt:{SUBJECT}"));
    let mut other = token.to_owned();
    let last = other.pop().unwrap();
    other.push(if last == 'A' { 'Q' } else { 'A' });
    assert_eq!(refused(&issuer, &other), Refused::Invalid);
}

#[tokio::test]
async fn a_token_lets_nobody_in_that_says_anything_else() {
    let (issuer, ed25519, p256) = usual();
    let strange = Signer::ed25519(9);
    let good = ed25519.token("ed", &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let invalid = [
        ("another's signature", strange.token("ed", &claims())),
        ("another issuer", ed25519.token("ed", &with("iss", "https://other"))),
        ("another audience", ed25519.token("ed", &with("aud", "other"))),
        ("other audiences", ed25519.token("ed", &with("aud", json!(["other"])))),
        ("no audience", ed25519.token("ed", &with("aud", Value::Null))),
        ("no end", ed25519.token("ed", &with("exp", Value::Null))),
        ("an end in words", ed25519.token("ed", &with("exp", "never"))),
        ("later", ed25519.token("ed", &with("nbf", now() + 60))),
        ("a name that cannot be shown", ed25519.token("ed", &with("sub", "a b\n"))),
        ("a long name", ed25519.token("ed", &with("sub", "x".repeat(300)))),
        ("an unknown key", ed25519.token("other", &claims())),
        ("the key of another algorithm", p256.token("ed", &claims())),
        ("two signatures", format!("{good}.{signature}")),
        ("no signature", format!("{signed}.")),
        ("another payload", format!("{header}.{}.{signature}", encoded(with("sub", "admin").to_string()))),
        ("padding", format!("{header}.{payload}=.{signature}")),
        ("too long", format!("{}.{signature}", "x".repeat(JWT_BYTES))),
        ("nothing", String::new()),
        ("dots", "..".into()),
    ];
    for (what, token) in invalid {
        assert_eq!(refused(&issuer, &token), Refused::Invalid, "{what}");
    }
    assert_eq!(refused(&issuer, &ed25519.token("ed", &with("exp", now() - 60))), Refused::Expired);
    assert_eq!(refused(&issuer, &ed25519.token("ed", &with("exp", -5))), Refused::Expired);
}

#[tokio::test]
async fn the_header_cannot_choose_how_it_is_verified() {
    let (issuer, ed25519, _) = usual();
    for header in [
        json!({"alg": "none", "kid": "ed"}),
        json!({"alg": "None", "kid": "ed"}),
        json!({"alg": "HS256", "kid": "ed"}),
        json!({"alg": "ES256", "kid": "ed"}),
        json!({"alg": "RS256", "kid": "ed"}),
        json!({"alg": "eddsa", "kid": "ed"}),
        json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": false}),
        json!({"alg": "EdDSA", "kid": 7}),
        json!({"kid": "ed"}),
        json!([]),
    ] {
        assert_eq!(refused(&issuer, &ed25519.signed(&header, &claims())), Refused::Invalid, "{header}");
    }
    let unsigned = format!("{}.{}.", encoded(r#"{"alg":"none"}"#), encoded(claims().to_string()));
    assert_eq!(refused(&issuer, &unsigned), Refused::Invalid);
}

#[tokio::test]
async fn what_a_subject_may_do_is_configured_or_claimed() {
    let signer = Signer::ed25519(1);
    let files = Files::of(&[signer.jwk("a")]);
    let subjects = [("ci:*", plane_of(&["ci"])), ("ci:prod", plane_of(&["prod"]))];
    let issuer = files.issuer(rules(&subjects, Some("tollgate")));
    let orgs = |sub: &str, claim: Option<Value>| {
        let mut claims = with("sub", sub);
        claim.into_iter().for_each(|claim| claims["tollgate"] = claim);
        issuer.verify(&signer.token("a", &claims)).map(|principal| (principal.role(), principal.orgs().to_string()))
    };
    let reporter = || Some(json!({"role": "reporter", "orgs": ["beta"], "bind": ["agent/a"]}));
    assert_eq!(orgs("ci:prod", None), Ok((Role::Plane, "prod".into())));
    assert_eq!(orgs("ci:test", reporter()), Ok((Role::Plane, "ci".into())), "the configuration decides");
    assert_eq!(orgs("elsewhere", reporter()), Ok((Role::Reporter, "beta".into())));
    for claim in [
        None,
        Some(json!("admin")),
        Some(json!({"role": "root", "orgs": ["*"]})),
        Some(json!({"role": "peer", "orgs": ["*"]})),
        Some(json!({"role": "plane", "orgs": []})),
        Some(json!({"role": "plane", "orgs": ["a*b"]})),
        Some(json!({"role": "plane", "orgs": ["*"], "more": 1})),
        Some(json!({"role": "viewer", "orgs": ["*"], "bind": ["agent/a"]})),
    ] {
        assert_eq!(orgs("elsewhere", claim.clone()), Err(Refused::Invalid), "{claim:?}");
    }
}

#[tokio::test]
async fn what_came_of_a_key_ends_with_it_and_a_bad_file_changes_nothing() {
    let (old, new) = (Signer::ed25519(1), Signer::ed25519(2));
    let files = Files::of(&[old.jwk("old"), new.jwk("new")]);
    let issuer = files.issuer(rules(&[("*", plane_of(&["acme"]))], None));
    let by_old = issuer.verify(&old.token("old", &claims())).unwrap();
    let by_new = issuer.verify(&new.token("new", &claims())).unwrap();
    assert_eq!(issuer.read_again().await, Ok(KeysRead { changed: false, keys: 2, revoked: 0 }));
    for text in ["", "{\"keys\": [{\"kty\": \"oct\"}]}", "half {"] {
        files.write(text);
        assert!(issuer.read_again().await.is_err(), "{text:?}");
        assert_eq!((by_old.is_valid(), issuer.keys()), (Ok(()), Some(2)));
    }
    files.write(&json!({"keys": [new.jwk("new")]}).to_string());
    assert_eq!(issuer.read_again().await, Ok(KeysRead { changed: true, keys: 1, revoked: 1 }));
    assert_eq!((by_old.is_valid(), by_new.is_valid()), (Err(Refused::Invalid), Ok(())));
    assert_eq!(refused(&issuer, &old.token("old", &claims())), Refused::Invalid);
    files.write("{\"keys\": []}");
    assert_eq!(issuer.read_again().await, Ok(KeysRead { changed: true, keys: 0, revoked: 1 }));
    assert_eq!(by_new.is_valid(), Err(Refused::Invalid), "an empty set ends everything");
    files.write(&json!({"keys": [old.jwk("old")]}).to_string());
    assert!(issuer.read_again().await.unwrap().changed);
    assert!(issuer.verify(&old.token("old", &claims())).is_ok(), "it may come back");
    assert_eq!(by_old.is_valid(), Err(Refused::Invalid));
}

#[tokio::test]
async fn other_grants_end_what_was_granted_otherwise() {
    let signer = Signer::ed25519(1);
    let files = Files::of(&[signer.jwk("a")]);
    let (a, b) = (("a", plane_of(&["acme"])), ("b", plane_of(&["acme"])));
    let issuer = files.issuer(rules(&[a.clone(), b.clone()], None));
    let of = |sub: &str| issuer.verify(&signer.token("a", &with("sub", sub)));
    let (first, second) = (of("a").unwrap(), of("b").unwrap());
    let grants = |rows: &[(&str, Grant)]| rules(rows, None).subjects;
    assert_eq!(issuer.grant(grants(&[a.clone(), b.clone()])), 0);
    assert_eq!(issuer.grant(grants(&[a, ("b", plane_of(&["beta"]))])), 1);
    assert_eq!((first.is_valid(), second.is_valid()), (Ok(()), Err(Refused::Invalid)));
    assert!(of("b").unwrap().orgs().covers("beta"));
    assert_eq!(issuer.grant(grants(&[b])), 2);
    assert_eq!(of("a").unwrap_err(), Refused::Invalid);
}

#[tokio::test]
async fn a_file_that_lets_nobody_in_refuses_to_start() {
    for (text, said) in [("", "no JSON Web Key Set"), ("{\"keys\": []}", "it has no key")] {
        let files = Files::of(&[]);
        files.write(text);
        let source = KeySource::File(files.file.path().to_owned());
        let cause = Issuer::open(rules(&[], None), source).unwrap_err();
        assert!(cause.contains(said) && cause.starts_with("auth.jwt.jwks = "), "{cause}");
    }
    let missing = Issuer::open(rules(&[], None), KeySource::File("/none/keys.json".into())).unwrap_err();
    assert!(missing.contains("/none/keys.json"), "{missing}");
}

/// Nothing listens there: the set cannot be fetched.
#[tokio::test]
async fn without_keys_a_token_cannot_be_judged() {
    let source = KeySource::Url { url: "http://127.0.0.1:1/keys".into(), ca: None };
    let issuer = Issuer::open(rules(&[("*", plane_of(&["acme"]))], None), source).unwrap();
    let signer = Signer::ed25519(1);
    assert_eq!(issuer.keys(), None);
    assert_eq!(refused(&issuer, &signer.token("a", &claims())), Refused::Unavailable);
    assert_eq!(refused(&issuer, &signer.signed(&json!({"alg": "none"}), &claims())), Refused::Invalid);
    assert!(issuer.read_again().await.is_err());
    assert_eq!(refused(&issuer, &signer.token("a", &claims())), Refused::Unavailable);
    let set = KeySet::parse(json!({"keys": [signer.jwk("a")]}).to_string().as_bytes()).unwrap();
    issuer.adopt(set);
    assert!(issuer.verify(&signer.token("a", &claims())).is_ok());
    assert_eq!(refused(&issuer, &signer.token("b", &claims())), Refused::Unavailable, "it may be a newer one");
}
