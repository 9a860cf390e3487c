//! The gRPC front: parse, ask the service, answer. No rule lives here.

mod admin;
mod budget;
mod connections;
mod gate;
mod pool;
pub mod server;
mod session;

use std::{future::Future, sync::Arc, time::Duration};

use tonic::{Request, Response, Status};

use crate::{
    error::ServiceError,
    service::{Call, Service},
    wire::status,
};

/// What every handler answers.
type Answer<T> = Result<Response<T>, Status>;

/// What every handler holds.
#[derive(Debug, Clone)]
struct Front(Arc<Service>);

impl Front {
    /// Runs one call within the caller's deadline, measures it, and maps its error.
    async fn answer<Req, Res, Fut>(
        &self,
        rpc: &'static str,
        request: Request<Req>,
        handle: impl FnOnce(Req, Call) -> Fut,
    ) -> Answer<Res>
    where
        Fut: Future<Output = Result<Res, ServiceError>>,
    {
        let call = self.0.call(rpc, callers_deadline(&request));
        let deadline = call.deadline;
        let answered = handle(request.into_inner(), call).await;
        self.0.metrics().answered(rpc, deadline.elapsed());
        answered.map(Response::new).map_err(|error| {
            self.0.metrics().failed(rpc, status::reason(&error));
            status::to_status(&error)
        })
    }
}

/// The `grpc-timeout` header: up to eight digits and a unit.
fn callers_deadline<T>(request: &Request<T>) -> Option<Duration> {
    let text = request.metadata().get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = Some(digits).filter(|digits| digits.len() <= 8)?.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_deadline_is_read_and_garbage_is_none() {
        for (text, expected) in [
            ("250m", Some(Duration::from_millis(250))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("1n", Some(Duration::from_nanos(1))),
            ("", None),
            ("m", None),
            ("-1S", None),
            ("999999999S", None),
            ("5", None),
        ] {
            let mut request = Request::new(());
            request.metadata_mut().insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(callers_deadline(&request), expected, "{text:?}");
        }
    }
}
