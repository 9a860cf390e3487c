//! What keys are made of. A key is a list of parts, each with a name; how a list is written is not the
//! business of the kinds: engines of bytes and dumps bring their own [`KeyWriter`] and [`KeyReader`].

use std::{borrow::Cow, fmt};

use super::outcomes::RpcV2;
use crate::domain::{
    alerts::Subject,
    ids::{AccountId, DecisionId, ExecutionId, Meter, Plane, PoolId, RequestId, Scope, SessionId, Source},
    input::InputError,
    outbox::OutboxKey,
    request::Rpc,
    rows::OverrideSubject,
    scopes::Scopes,
    window::Window,
};

/// Takes the parts of a key in their order.
pub(in crate::store) trait KeyWriter {
    fn text(&mut self, name: &'static str, text: &str);
    fn number(&mut self, name: &'static str, number: u64);
    fn short(&mut self, name: &'static str, number: u16);
    fn id(&mut self, name: &'static str, id: u128);
    fn window(&mut self, name: &'static str, window: Window);
}

/// Gives the parts of a key in their order.
pub(in crate::store) trait KeyReader {
    fn text(&mut self, name: &'static str) -> Result<Cow<'_, str>, KeyError>;
    fn number(&mut self, name: &'static str) -> Result<u64, KeyError>;
    fn short(&mut self, name: &'static str) -> Result<u16, KeyError>;
    fn id(&mut self, name: &'static str) -> Result<u128, KeyError>;
    fn window(&mut self, name: &'static str) -> Result<Window, KeyError>;
}

/// Why something is not a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum KeyError {
    Truncated,
    TrailingBytes,
    UnknownKind(u8),
    NotText,
    /// A named part is not there, or is not what it should be.
    Missing(&'static str),
    Invalid(InputError),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the key is cut short"),
            Self::TrailingBytes => f.write_str("the key has bytes behind its end"),
            Self::UnknownKind(kind) => write!(f, "kind {kind:#04x} is not known"),
            Self::NotText => f.write_str("the key holds a name that is not text"),
            Self::Missing(part) => write!(f, "the key has no readable \"{part}\""),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

impl From<InputError> for KeyError {
    fn from(error: InputError) -> Self {
        Self::Invalid(error)
    }
}

/// A type that stands in keys.
pub(super) trait KeyPart: Sized {
    fn write(&self, name: &'static str, to: &mut dyn KeyWriter);
    fn read(name: &'static str, from: &mut dyn KeyReader) -> Result<Self, KeyError>;
}

macro_rules! texts {
    ($($type:ty),+) => {
        $(impl KeyPart for $type {
            fn write(&self, name: &'static str, to: &mut dyn KeyWriter) {
                to.text(name, self.as_str());
            }

            fn read(name: &'static str, from: &mut dyn KeyReader) -> Result<Self, KeyError> {
                Ok(Self::parse(name, &from.text(name)?)?)
            }
        })+
    };
}

texts!(Scope, Meter, Source, ExecutionId, SessionId, PoolId, AccountId, RequestId, Plane, OverrideSubject);

/// By its name.
impl KeyPart for Subject {
    fn write(&self, name: &'static str, to: &mut dyn KeyWriter) {
        to.text(name, &self.to_string());
    }

    fn read(name: &'static str, from: &mut dyn KeyReader) -> Result<Self, KeyError> {
        Ok(Self::parse(name, &from.text(name)?)?)
    }
}

/// By the number of its stored form.
impl KeyPart for Rpc {
    fn write(&self, name: &'static str, to: &mut dyn KeyWriter) {
        to.short(name, RpcV2::from(*self) as u16);
    }

    fn read(name: &'static str, from: &mut dyn KeyReader) -> Result<Self, KeyError> {
        let number = from.short(name)?;
        let known = Self::ALL.iter().copied().find(|rpc| RpcV2::from(*rpc) as u16 == number);
        known.ok_or(KeyError::Missing(name))
    }
}

/// A set of scopes, as one text: that of a single scope is its name.
impl KeyPart for Scopes {
    fn write(&self, _name: &'static str, to: &mut dyn KeyWriter) {
        to.text("scope", &self.text());
    }

    fn read(_name: &'static str, from: &mut dyn KeyReader) -> Result<Self, KeyError> {
        Ok(Self::parse("scope", &from.text("scope")?)?)
    }
}

macro_rules! ids {
    ($($type:ident),+) => {
        $(impl KeyPart for $type {
            fn write(&self, name: &'static str, to: &mut dyn KeyWriter) {
                to.id(name, self.0);
            }

            fn read(name: &'static str, from: &mut dyn KeyReader) -> Result<Self, KeyError> {
                from.id(name).map(Self)
            }
        })+
    };
}

ids!(DecisionId, OutboxKey);

impl KeyPart for u64 {
    fn write(&self, name: &'static str, to: &mut dyn KeyWriter) {
        to.number(name, *self);
    }

    fn read(name: &'static str, from: &mut dyn KeyReader) -> Result<Self, KeyError> {
        from.number(name)
    }
}

impl KeyPart for u16 {
    fn write(&self, name: &'static str, to: &mut dyn KeyWriter) {
        to.short(name, *self);
    }

    fn read(name: &'static str, from: &mut dyn KeyReader) -> Result<Self, KeyError> {
        from.short(name)
    }
}

impl KeyPart for Window {
    fn write(&self, name: &'static str, to: &mut dyn KeyWriter) {
        to.window(name, *self);
    }

    fn read(name: &'static str, from: &mut dyn KeyReader) -> Result<Self, KeyError> {
        from.window(name)
    }
}
