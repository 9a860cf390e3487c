//! Why a command has no answer: as a sentence with hints for people, and as a gRPC status for
//! programs, which read the same codes and details for an error of this command as for one of the
//! node.
//!
//! An error is "no decision", never a denial: it ends with exit code 1, a denial with 3.

use std::{error::Error, fmt, path::PathBuf, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{Exit, address::Address};
use crate::{
    domain::{input::InputError, words},
    wire::{
        json::{JsonError, code_name},
        v1::ItemError,
    },
};

/// `ErrorInfo.domain`, as the node sets it.
const DOMAIN: &str = "tollgate";

#[derive(Debug)]
pub(super) enum Failure {
    /// The command line was not understood; the text is the parser's.
    CommandLine(String),
    /// A mistake on the command line that shows only when its parts are seen together.
    Usage(InputError),
    /// Each mistake with its place.
    Configuration(Vec<(String, String)>),
    TokenFile {
        path: PathBuf,
        cause: String,
    },
    /// A file of accounts, or one of its lines.
    AccountFile {
        name: String,
        line: Option<usize>,
        cause: String,
    },
    Unreachable {
        address: Address,
        cause: String,
        refused: bool,
    },
    TimedOut {
        address: Address,
        after: Duration,
    },
    /// The node answered with an error.
    Status(Box<Status>),
    /// The change may have been made; the request id makes a repetition safe.
    InDoubt {
        cause: Box<Failure>,
        request_id: String,
    },
    /// One org of many failed; `None` where the node sent neither an answer nor an error.
    Item {
        org: String,
        error: Option<ItemError>,
    },
    /// The node's answer lacks something it must have.
    Incomplete(&'static str),
    /// The node's answer is complete and says that there is no answer.
    NoAnswer(String),
    Json(JsonError),
    /// This machine or its files.
    Local(String),
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        if matches!(self, Self::CommandLine(_) | Self::Usage(_)) { Exit::Usage } else { Exit::Error }
    }

    /// Whether a change that was asked for may have been made.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::Status(status) => matches!(
                status.code(),
                Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Internal | Code::Unavailable
            ),
            _ => false,
        }
    }

    /// As the API reports it.
    pub(super) fn status(&self) -> Status {
        let bare = |code| Status::new(code, self.message());
        match self {
            Self::Status(status) => Status::clone(status),
            Self::Usage(error) => bad_request(self.message(), [(error.field.as_str(), error.to_string())]),
            Self::Configuration(mistakes) => {
                let mistakes = mistakes.iter().map(|(place, text)| (place.as_str(), text.clone()));
                bad_request(self.message(), mistakes)
            }
            Self::InDoubt { cause, request_id } => in_doubt(&cause.status(), request_id),
            Self::Item { org, error } => item(self.message(), org, error.as_ref()),
            Self::CommandLine(_) | Self::AccountFile { .. } => bare(Code::InvalidArgument),
            Self::TokenFile { .. } => bare(Code::FailedPrecondition),
            Self::Unreachable { .. } => bare(Code::Unavailable),
            Self::TimedOut { .. } => bare(Code::DeadlineExceeded),
            Self::Incomplete(_) | Self::Json(_) => bare(Code::Internal),
            Self::NoAnswer(_) | Self::Local(_) => bare(Code::Unknown),
        }
    }

    /// What went wrong, without hints.
    pub(super) fn message(&self) -> String {
        match self {
            Self::CommandLine(text) => text.clone(),
            Self::Usage(error) => error.to_string(),
            Self::Configuration(mistakes) => {
                let plural = if mistakes.len() == 1 { "" } else { "s" };
                format!("{} mistake{plural} in the configuration", mistakes.len())
            }
            Self::TokenFile { path, cause } => format!("the token file {} cannot be used: {cause}", path.display()),
            Self::AccountFile { name, line: Some(line), cause } => format!("{name}: line {line}: {cause}"),
            Self::AccountFile { name, line: None, cause } => format!("{name}: {cause}"),
            Self::Unreachable { address, cause, .. } => format!("no connection to {address}: {cause}"),
            Self::TimedOut { address, after } => format!("no answer from {address} within {after:?}"),
            Self::Status(status) if status.message().is_empty() => "the node gave no message".to_owned(),
            Self::Status(status) => status.message().to_owned(),
            Self::InDoubt { cause, .. } => cause.message(),
            Self::Item { org, error: Some(error) } => format!("{org}: {}", error.message),
            Self::Item { org, error: None } => format!("{org}: the node sent neither an answer nor an error"),
            Self::Incomplete(what) => format!("the node's answer is incomplete: {what}"),
            Self::NoAnswer(why) | Self::Local(why) => why.clone(),
            Self::Json(error) => error.to_string(),
        }
    }

    /// The code and the reason of the node, where the node reported it.
    fn code_and_reason(&self) -> Option<(Code, String)> {
        match self {
            Self::Status(status) => {
                let info = status.get_details_error_info();
                Some((status.code(), info.map(|info| info.reason).unwrap_or_default()))
            }
            Self::InDoubt { cause, .. } => cause.code_and_reason(),
            Self::Item { error: Some(error), .. } => Some((Code::from_i32(error.grpc_code), error.reason.clone())),
            _ => None,
        }
    }

    /// What to do next.
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unreachable { refused: true, .. } => {
                vec!["no node listens there; `tollgate serve` starts one, --addr names another".to_owned()]
            }
            Self::TimedOut { .. } => vec!["--timeout waits longer".to_owned()],
            Self::Status(status) => hints_of_status(status),
            Self::InDoubt { cause, request_id } => {
                let mut hints = cause.hints();
                hints.push(format!(
                    "the change may have been made; --request-id {} repeats this call safely",
                    words::for_shell(request_id)
                ));
                hints
            }
            _ => Vec::new(),
        }
    }
}

fn hints_of_status(status: &Status) -> Vec<String> {
    let mut hints = Vec::new();
    if let Some(delay) = status.get_details_retry_info().and_then(|info| info.retry_delay) {
        hints.push(format!("try again in {delay:?}"));
    }
    if status.source().is_some() {
        hints.push(
            "the connection itself failed; --addr must name the node's gRPC port, with https:// where the node has TLS"
                .to_owned(),
        );
    }
    if status.code() == Code::Unauthenticated {
        hints.push("--token-file sends a bearer token".to_owned());
    }
    hints
}

fn bad_request<'a>(message: String, violations: impl IntoIterator<Item = (&'a str, String)>) -> Status {
    let mut details = ErrorDetails::new();
    for (field, description) in violations {
        details.add_bad_request_violation(field, description);
    }
    Status::with_error_details(Code::InvalidArgument, message, details)
}

fn in_doubt(cause: &Status, request_id: &str) -> Status {
    let mut details = cause.get_error_details();
    details.set_request_info(request_id, "");
    Status::with_error_details(cause.code(), cause.message(), details)
}

fn item(message: String, org: &str, error: Option<&ItemError>) -> Status {
    let Some(error) = error else {
        return Status::internal(message);
    };
    let metadata = [("org".to_owned(), org.to_owned())];
    let details = ErrorDetails::with_error_info(&error.reason, DOMAIN, metadata);
    Status::with_error_details(Code::from_i32(error.grpc_code), message, details)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        match self.code_and_reason() {
            Some((code, reason)) if reason.is_empty() => write!(f, " ({})", code_name(code))?,
            Some((code, reason)) => write!(f, " ({}, {reason})", code_name(code))?,
            None => {}
        }
        self.hints().iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl Error for Failure {}

impl From<JsonError> for Failure {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}
