//! Ask, run, complete: the whole life of an execution in one call.

use std::{fmt, future::Future};

use super::{
    Client, OnUnavailable,
    ask::{Ask, Question},
    decision::{Admission, Decision, Denial},
    error::{Error, NoDecision},
    events::{Event, add},
    execution::{Admitted, Execution, Settled},
    stream::Waiter,
};
use crate::wire::v1::AcquireRequest;

/// What became of an execution.
#[derive(Debug)]
pub enum Guarded<T> {
    /// The node allowed it, and it ran.
    Ran {
        /// What it answered.
        value: T,
        /// What the node said.
        admission: Admission,
        /// Whether the node knows that it has ended.
        settled: Settled,
    },
    /// Nobody decided, and it ran all the same ([`OnUnavailable::Open`]).
    RanUndecided {
        /// What it answered.
        value: T,
        /// Why there was no decision.
        cause: NoDecision,
    },
    /// The node denied it, and it did not run.
    Denied(Denial),
}

impl<T> Guarded<T> {
    /// What the execution answered; `None` where it was denied.
    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Ran { value, .. } | Self::RanUndecided { value, .. } => Some(value),
            Self::Denied(_) => None,
        }
    }

    /// The denial, if there is one.
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Denied(denial) => Some(denial),
            Self::Ran { .. } | Self::RanUndecided { .. } => None,
        }
    }
}

/// Why an execution has no result.
#[derive(Debug)]
pub enum GuardError<E> {
    /// It did not run: the node refused the call, or nobody decided and the policy is [`OnUnavailable::Closed`].
    Call(Error),
    /// It ran, and failed.
    Run(E),
}

impl<E: fmt::Display> fmt::Display for GuardError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => write!(f, "the execution did not run: {error}"),
            Self::Run(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for GuardError<E> {}

impl Client {
    /// Asks whether an execution may run, runs it if so, and completes it.
    ///
    /// A denial is an answer and never runs. Where nobody decides in time, [`OnUnavailable`] says whether it runs; a call
    /// that is wrong (INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED, …) does not run whatever the policy is. An
    /// execution that answers an error has failed, as [`Admitted::fail`] says; so has one whose future is dropped.
    ///
    /// ```no_run
    /// use tollgate::client::{Ask, Client, Guarded, OnUnavailable, Options};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::connect(Options::new("http://127.0.0.1:7070", OnUnavailable::Closed))?;
    /// let asked = Ask::new().scope("workspace/ws_42").reserve("spend", 50_000);
    /// let answer = client
    ///     .guard("acme", asked, async |execution| {
    ///         execution.used("spend", 12_000);
    ///         Ok::<_, std::io::Error>("done")
    ///     })
    ///     .await?;
    /// match answer {
    ///     Guarded::Denied(denial) => println!("{} {}", denial.http_status(), denial.text()),
    ///     ran => println!("{:?}", ran.into_value()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where it did not run and was not denied, or ran and failed.
    pub async fn guard<T, E, Running: Future<Output = Result<T, E>>>(
        &self,
        org: &str,
        ask: Ask,
        run: impl FnOnce(Execution) -> Running,
    ) -> Result<Guarded<T>, GuardError<E>> {
        let question = ask.into_question(org, &self.core.options.plane);
        let decided = match self.ask(&question).await {
            Ok(Err(denial)) => return Ok(Guarded::Denied(denial)),
            Ok(Ok(admission)) => Ok(admission),
            Err(Error::NoDecision(cause)) if self.core.options.on_unavailable == OnUnavailable::Open => {
                self.failed_open(&question.request, &cause);
                Err(cause)
            }
            Err(error) => return Err(GuardError::Call(error)),
        };
        let admitted = self.admitted(question, decided.as_ref().ok());
        let value = match run(admitted.execution().clone()).await {
            Ok(value) => value,
            Err(error) => {
                admitted.fail().await;
                return Err(GuardError::Run(error));
            }
        };
        let settled = admitted.complete().await;
        Ok(match decided {
            Ok(admission) => Guarded::Ran { value, admission, settled },
            Err(cause) => Guarded::RanUndecided { value, cause },
        })
    }

    /// Asks whether an execution may run. Whoever calls this completes it ([`Admitted`]), and applies a policy of its own
    /// where nobody decides.
    ///
    /// # Errors
    /// Where nobody decided in time, or the node refused the call.
    pub async fn acquire(&self, org: &str, ask: Ask) -> Result<Decision, Error> {
        let question = ask.into_question(org, &self.core.options.plane);
        Ok(match self.ask(&question).await? {
            Ok(admission) => Decision::Admitted(self.admitted(question, Some(&admission))),
            Err(denial) => Decision::Denied(denial),
        })
    }

    async fn ask(&self, question: &Question) -> Result<Result<Admission, Denial>, Error> {
        let (core, counters) = (&self.core, &self.core.watch.counters);
        let asked = core.call(Waiter::new(question, &core.asks, &core.settler)).await;
        if matches!(asked, Err(Error::NoDecision(_))) {
            add(&counters.undecided);
        }
        let answer = asked?;
        if !answer.allowed {
            add(&counters.denied);
            return Ok(Err(Denial(answer)));
        }
        add(&counters.admitted);
        Ok(Ok(Admission(answer)))
    }

    fn admitted(&self, question: Question, admission: Option<&Admission>) -> Admitted {
        Admitted::new(Execution::new(self.core.clone(), question, admission.cloned()))
    }

    fn failed_open(&self, request: &AcquireRequest, cause: &NoDecision) {
        let (org, request_id) = (request.org.clone(), request.request_id.clone());
        self.core.watch.happened(&Event::FailedOpen { org, request_id, cause: cause.clone() });
    }
}
