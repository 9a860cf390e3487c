//! The public keys of an issuer of tokens: a JSON Web Key Set (RFC 7517), and what a key of it can verify.
//!
//! A key says by its type how it signs; what a token says of that is only compared with it. So no token can choose to
//! be verified by a weaker algorithm, or by a public key that is taken for a shared secret.

use std::{collections::HashSet, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::{Deserialize, de::IgnoredAny};

use crate::bounds::JWKS_KEYS;

const COORDINATE_BYTES: usize = 32;
const RSA_BYTES_MIN: usize = 256;
const RSA_BYTES_MAX: usize = 1_024;
/// Before a point that is given by both of its coordinates.
const UNCOMPRESSED: u8 = 4;

/// How a token is signed, as its header names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Algorithm {
    EdDsa,
    Es256,
    Rs256,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256, Self::Rs256].into_iter().find(|algorithm| algorithm.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Ed25519(Vec<u8>),
    /// The point, uncompressed.
    P256(Vec<u8>),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

/// A key of a set. Two are the same where they have the same name and verify the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    material: Material,
}

impl Key {
    pub(super) const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Ed25519(_) => Algorithm::EdDsa,
            Material::P256(_) => Algorithm::Es256,
            Material::Rsa { .. } => Algorithm::Rs256,
        }
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.material {
            Material::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Material::P256(key) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature),
            Material::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        verified.is_ok()
    }
}

/// Which key of a set a token is signed by.
#[derive(Debug)]
pub(super) enum Found<'s> {
    Key(&'s Arc<Key>),
    /// The set has none of this name, and a newer one might.
    Unknown,
    /// The one of this name signs otherwise, or several could have signed.
    Unfit,
}

/// The keys of an issuer that can verify tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct KeySet {
    keys: Vec<Arc<Key>>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// The secret half of a key; its value is not even read.
    d: Option<IgnoredAny>,
}

impl KeySet {
    /// Reads a set. Keys that sign by what is not supported, or do not sign at all, are passed over. A set that lists
    /// no key is one: nobody's tokens are good any more.
    ///
    /// # Errors
    /// Saying what is wrong with it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let document: Document =
            serde_json::from_slice(text).map_err(|error| format!("no JSON Web Key Set: {error}"))?;
        if document.keys.len() > JWKS_KEYS {
            return Err(format!("it has {} keys, at most {JWKS_KEYS} are allowed", document.keys.len()));
        }
        let listed = document.keys.len();
        let mut set = Self::default();
        let mut names = HashSet::new();
        for (index, jwk) in document.keys.into_iter().enumerate() {
            let named = |cause: &str| match &jwk.kid {
                Some(kid) => format!("its key {kid:?} {cause}"),
                None => format!("its key {} {cause}", index + 1),
            };
            if jwk.d.is_some() {
                return Err(named("is a private key, which has to stay with the issuer"));
            }
            let Some(material) = jwk.material().map_err(|cause| named(&cause))? else { continue };
            let key = Key { id: jwk.kid.clone(), material };
            if key.id.is_some() && !names.insert((key.id.clone(), key.algorithm())) {
                return Err(named("is there twice"));
            }
            set.keys.push(Arc::new(key));
        }
        if set.keys.is_empty() && listed > 0 {
            return Err("it has no key that signs by EdDSA (Ed25519), ES256 or RS256".into());
        }
        Ok(set)
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.keys.iter().any(|own| **own == *key)
    }

    /// The key of this name, which has to sign by this algorithm. A token that names none is of the only key that
    /// does.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let of_algorithm = |key: &&Arc<Key>| key.algorithm() == algorithm;
        let Some(id) = id else {
            let mut fit = self.keys.iter().filter(of_algorithm);
            return match (fit.next(), fit.next()) {
                (Some(key), None) => Found::Key(key),
                (None, _) => Found::Unknown,
                (Some(_), Some(_)) => Found::Unfit,
            };
        };
        let named = || self.keys.iter().filter(|key| key.id.as_deref() == Some(id));
        match named().find(of_algorithm) {
            Some(key) => Found::Key(key),
            None if named().next().is_some() => Found::Unfit,
            None => Found::Unknown,
        }
    }
}

impl Jwk {
    /// `None` where it is nothing that verifies one of our algorithms.
    fn material(&self) -> Result<Option<Material>, String> {
        let verifies = |operations: &Vec<String>| operations.iter().any(|operation| operation == "verify");
        let is_for_signatures = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(verifies);
        let signs_by = |algorithm: Algorithm| self.alg.as_deref().is_none_or(|name| name == algorithm.name());
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) if signs_by(Algorithm::EdDsa) => {
                Material::Ed25519(coordinate("x", self.x.as_ref())?)
            }
            ("EC", Some("P-256")) if signs_by(Algorithm::Es256) => {
                let point = [coordinate("x", self.x.as_ref())?, coordinate("y", self.y.as_ref())?].concat();
                Material::P256([&[UNCOMPRESSED], point.as_slice()].concat())
            }
            ("RSA", None) if signs_by(Algorithm::Rs256) => {
                let (modulus, exponent) = (number("n", self.n.as_ref())?, number("e", self.e.as_ref())?);
                if !(RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&modulus.len()) {
                    let bits = modulus.len() * 8;
                    return Err(format!("has {bits} bits, an RSA key of 2048 to 8192 is allowed"));
                }
                Material::Rsa { modulus, exponent }
            }
            _ => return Ok(None),
        };
        Ok(is_for_signatures.then_some(material))
    }
}

fn decoded(name: &str, text: Option<&String>) -> Result<Vec<u8>, String> {
    let text = text.ok_or_else(|| format!("has no {name}"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("has an {name} that is not base64url without padding"))
}

fn coordinate(name: &str, text: Option<&String>) -> Result<Vec<u8>, String> {
    let bytes = decoded(name, text)?;
    if bytes.len() == COORDINATE_BYTES {
        return Ok(bytes);
    }
    Err(format!("has an {name} of {} bytes, {COORDINATE_BYTES} are allowed", bytes.len()))
}

/// Without zeros in front.
fn number(name: &str, text: Option<&String>) -> Result<Vec<u8>, String> {
    let bytes = decoded(name, text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes[zeros..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const P256: &str = r#"{"kty":"EC","crv":"P-256","kid":"b","use":"sig","alg":"ES256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn parsed(keys: &[&str]) -> Result<KeySet, String> {
        KeySet::parse(format!("{{\"keys\": [{}]}}", keys.join(",")).as_bytes())
    }

    #[test]
    fn keys_that_do_not_concern_us_are_passed_over() {
        let others = [
            r#"{"kty":"EC","crv":"P-384","kid":"c","x":"AA","y":"AA"}"#,
            r#"{"kty":"oct","kid":"d","k":"c2VjcmV0"}"#,
            r#"{"kty":"RSA","kid":"e","alg":"RS512","n":"AQ","e":"AQAB"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","kid":"f","use":"enc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","kid":"g","key_ops":["sign"],"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            r#"{"kty":"new"}"#,
        ];
        let all = parsed(&[&others[..], &[ED25519, P256]].concat()).unwrap();
        assert_eq!(all, parsed(&[ED25519, P256]).unwrap());
        assert!(parsed(&others).unwrap_err().contains("no key that signs"));
        assert_eq!(parsed(&[]).unwrap().len(), 0);
    }

    #[test]
    fn what_is_wrong_with_a_set_is_said() {
        let private = ED25519.replace("\"x\"", "\"d\":\"AA\",\"x\"");
        for (keys, said) in [
            (vec![private.as_str()], "\"a\" is a private key"),
            (vec![ED25519, ED25519], "\"a\" is there twice"),
            (vec![r#"{"kty":"OKP","crv":"Ed25519"}"#], "key 1 has no x"),
            (vec![r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#], "of 1 bytes"),
            (vec![r#"{"kty":"OKP","crv":"Ed25519","x":"+/=="}"#], "base64url"),
            (vec![r#"{"kty":"EC","crv":"P-256","kid":"b","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#], "no y"),
            (vec![r#"{"kty":"RSA","kid":"r","n":"AAAAAQ","e":"AQAB"}"#], "has 8 bits"),
        ] {
            let cause = parsed(&keys).unwrap_err();
            assert!(cause.contains(said), "{cause} instead of {said}");
        }
        for text in ["", "[]", "{}", "{\"keys\": 7}", "{\"keys\": [{}]}", "\u{0}"] {
            assert!(KeySet::parse(text.as_bytes()).unwrap_err().starts_with("no JSON Web Key Set"), "{text:?}");
        }
        let many = vec![r#"{"kty":"new"}"#; JWKS_KEYS + 1];
        assert!(parsed(&many).unwrap_err().contains("at most"));
    }

    #[test]
    fn a_key_is_found_by_its_name_and_only_for_its_algorithm() {
        let set = parsed(&[ED25519, P256]).unwrap();
        let is_key = |found: Found<'_>, kid: &str| matches!(found, Found::Key(key) if key.id.as_deref() == Some(kid));
        assert!(is_key(set.find(Some("a"), Algorithm::EdDsa), "a"));
        assert!(matches!(set.find(Some("a"), Algorithm::Es256), Found::Unfit));
        assert!(matches!(set.find(Some("c"), Algorithm::Es256), Found::Unknown));
        assert!(is_key(set.find(None, Algorithm::Es256), "b"));
        assert!(matches!(set.find(None, Algorithm::Rs256), Found::Unknown));
        let twice = parsed(&[ED25519, &ED25519.replace("\"a\"", "\"b\"")]).unwrap();
        assert!(matches!(twice.find(None, Algorithm::EdDsa), Found::Unfit));
        for name in ["none", "HS256", "RS512", "PS256", "eddsa", ""] {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
    }
}
