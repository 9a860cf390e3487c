//! Requests and answers as they came from elsewhere: what another node decides crosses as its caller and its owner wrote it, with
//! fields that this node's version does not know.

use std::sync::Arc;

use prost::{DecodeError, Message, bytes::Bytes};

use super::Answer;
use crate::{domain::members::Node, error::ServiceError};

/// A request.
#[derive(Debug, Clone)]
pub struct Taken<T> {
    /// What it says.
    pub message: T,
    /// As it came, where another node may be sent it; otherwise it is encoded again.
    pub bytes: Option<Bytes>,
}

impl<T> From<T> for Taken<T> {
    fn from(message: T) -> Self {
        Self { message, bytes: None }
    }
}

impl<T: Message + Default> Taken<T> {
    /// Of what came.
    ///
    /// # Errors
    /// Where it is not that message.
    pub fn kept(bytes: Bytes) -> Result<Self, DecodeError> {
        Ok(Self { message: T::decode(bytes.clone())?, bytes: Some(bytes) })
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Replied<T> {
    /// Of this node.
    Own(T),
    /// Of the node that owns the org.
    Relayed {
        /// As it came.
        bytes: Bytes,
        /// That node.
        owner: Arc<Node>,
    },
}

impl<T: Message + Default> Replied<T> {
    /// What it says.
    ///
    /// # Errors
    /// Where the other node has sent something else.
    pub fn message(self) -> Answer<T> {
        match self {
            Self::Own(message) => Ok(message),
            Self::Relayed { bytes, .. } => T::decode(bytes).map_err(|_| ServiceError::Bug),
        }
    }
}
