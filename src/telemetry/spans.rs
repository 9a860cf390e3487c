//! Spans of calls that are sampled, sent to a collector of OpenTelemetry over OTLP (gRPC).
//!
//! ```text
//! of the caller ──▶ the rpc ─┬▶ decide ─┬▶ ask the provider
//!                            │          └▶ gate/rate, gate/budgets, … one for each gate that had something to say
//!                            ├▶ org          any other command, with its commit
//!                            └▶ forward ───▶ the rpc at the owner of the org
//! ```
//!
//! A call whose caller has a trace is recorded where the caller records it, any other one by chance. One that is not recorded costs
//! reading one number. What the collector does not take in time is lost, and counted: calls never wait for it.

use std::{
    borrow::Cow,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue, Value,
    time::now,
    trace::{
        SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId as OtelTraceId, TraceState, Tracer,
        TracerProvider,
    },
};
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig, tonic_types::transport::ClientTlsConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter},
};

use super::Metrics;
use crate::domain::{
    decision::Decision,
    gate::{Gate, Verdict},
    ids::OrgId,
    trace::{TraceId, Traceparent},
};

/// Spans that wait for the collector; more are lost.
const QUEUE: usize = 8_192;
/// Spans of one message to it.
const MESSAGE: usize = 512;
/// Between two messages.
const EVERY: Duration = Duration::from_secs(1);
/// The time for one message.
const SEND_WITHIN: Duration = Duration::from_secs(3);
/// What a node that stops waits for the last of them.
const LAST_WITHIN: Duration = Duration::from_secs(2);
/// Of `traceparent`: whoever calls records the trace.
const RECORDED: u8 = 1;

/// Where spans are sent, and of which calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// `http://host:4317`, or https.
    pub endpoint: String,
    /// One of so many calls of which no caller has said anything; 0 = none.
    pub one_in: u64,
}

/// Records calls; nothing where no collector is configured.
#[derive(Debug, Default)]
pub struct Spans(Option<Recorder>);

struct Recorder {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    one_in: u64,
    seen: AtomicU64,
    random: RandomState,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("one_in", &self.one_in).finish_non_exhaustive()
    }
}

impl Spans {
    /// To this collector, from the node of this name. Called inside the runtime; the collector need not be there yet.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn to(collector: &Collector, node: &str, metrics: Arc<Metrics>) -> Result<Self, String> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&collector.endpoint)
            .with_timeout(SEND_WITHIN);
        let exporter = match collector.endpoint.starts_with("https:") {
            true => exporter.with_tls_config(ClientTlsConfig::new().with_native_roots()),
            false => exporter,
        };
        let exporter = exporter.build().map_err(|error| format!("tracing.endpoint: {error}"))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(MESSAGE)
            .with_scheduled_delay(EVERY);
        let exporter = Counted { exporter, metrics };
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches.build()).build();
        let about =
            [("service.version", env!("CARGO_PKG_VERSION").to_owned()), ("service.instance.id", node.to_owned())];
        let about = about.map(|(key, value)| KeyValue::new(key, value));
        let provider = SdkTracerProvider::builder()
            // Whether a call is recorded is known before a span of it is made.
            .with_sampler(Sampler::AlwaysOn)
            .with_span_processor(processor)
            .with_resource(Resource::builder().with_service_name("tollgate").with_attributes(about).build())
            .build();
        let tracer = provider.tracer("tollgate");
        let one_in = collector.one_in;
        Ok(Self(Some(Recorder { provider, tracer, one_in, seen: AtomicU64::new(0), random: RandomState::new() })))
    }

    /// The span of an rpc, if its call is recorded.
    pub fn begin(&self, rpc: &'static str, trace: Option<Traceparent>) -> Option<Span> {
        let recorder = self.0.as_ref()?;
        let parent = match trace {
            Some(trace) if trace.flags & RECORDED != 0 => Context::new().with_remote_span_context(SpanContext::new(
                OtelTraceId::from(trace.trace.0),
                SpanId::from(trace.parent),
                TraceFlags::SAMPLED,
                true,
                TraceState::NONE,
            )),
            Some(_) => return None,
            None if recorder.is_chosen() => Context::new(),
            None => return None,
        };
        Some(Span::under(&recorder.tracer, &parent, rpc.into(), SpanKind::Server, None))
    }

    /// Sends what is left, for a moment. Blocks.
    pub fn end(&self) {
        if let Some(recorder) = &self.0 {
            drop(recorder.provider.shutdown_with_timeout(LAST_WITHIN));
        }
    }
}

impl Recorder {
    /// By chance, so that calls that repeat themselves are not always the same ones.
    fn is_chosen(&self) -> bool {
        self.one_in > 0 && self.random.hash_one(self.seen.fetch_add(1, Ordering::Relaxed)).is_multiple_of(self.one_in)
    }
}

/// Something that takes time, as a collector shows it. It ends with the last of its clones.
#[derive(Clone)]
pub struct Span(Arc<Recording>);

struct Recording {
    tracer: SdkTracer,
    context: Context,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Span({})", self.traceparent())
    }
}

impl Span {
    fn under(
        tracer: &SdkTracer,
        parent: &Context,
        name: Cow<'static, str>,
        kind: SpanKind,
        began: Option<SystemTime>,
    ) -> Self {
        let mut span = tracer.span_builder(name).with_kind(kind);
        span.start_time = began;
        let span = span.start_with_context(tracer, parent);
        Self(Arc::new(Recording { tracer: tracer.clone(), context: parent.with_span(span) }))
    }

    /// A part of it, inside this node.
    #[must_use]
    pub fn part(&self, name: &'static str) -> Self {
        Self::under(&self.0.tracer, &self.0.context, name.into(), SpanKind::Internal, None)
    }

    /// A question to somebody else.
    #[must_use]
    pub fn question(&self, name: &'static str) -> Self {
        Self::under(&self.0.tracer, &self.0.context, name.into(), SpanKind::Client, None)
    }

    /// Says something of it.
    pub fn says(&self, key: &'static str, value: impl Into<Value>) {
        self.0.context.span().set_attribute(KeyValue::new(key, value));
    }

    /// It has failed, and this is what a reader gets.
    pub fn fails(&self, why: impl Into<Cow<'static, str>>) {
        self.0.context.span().set_status(Status::error(why));
    }

    /// As whoever takes part in it gets it.
    pub fn traceparent(&self) -> Traceparent {
        let span = self.0.context.span();
        let context = span.span_context();
        Traceparent {
            trace: TraceId(u128::from_be_bytes(context.trace_id().to_bytes())),
            parent: u64::from_be_bytes(context.span_id().to_bytes()),
            flags: RECORDED,
        }
    }

    /// What was decided in it, gate by gate. They are judged in one step, which takes microseconds: each is shown at its end.
    pub fn decided(&self, org: &OrgId, decision: &Decision) {
        self.says("tollgate.org", org.to_string());
        self.says("tollgate.code", decision.code().name());
        self.says("tollgate.allowed", decision.allowed);
        if let Some(id) = decision.id {
            self.says("tollgate.decision_id", id.to_string());
        }
        if decision.replayed {
            // What the gates said is not known any more.
            self.says("tollgate.replayed", true);
            return;
        }
        let at = now();
        for gate in Gate::ALL {
            let (verdict, more) = match decision.reports.of(gate) {
                Verdict::Skipped => continue,
                Verdict::Passed => ("passed", None),
                Verdict::Denied(denial) => ("denied", Some(("tollgate.gate.message", denial.message.clone()))),
                Verdict::Unevaluated(cause) => ("unevaluated", Some(("tollgate.gate.cause", cause.name().to_owned()))),
            };
            let name = format!("gate/{}", gate.name());
            let span = Self::under(&self.0.tracer, &self.0.context, name.into(), SpanKind::Internal, Some(at));
            span.says("tollgate.gate.verdict", verdict);
            if let Some((key, value)) = more {
                span.says(key, value);
            }
            span.0.context.span().end_with_timestamp(at);
        }
    }
}

/// Counts what became of spans.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    metrics: Arc<Metrics>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let exported = self.exporter.export(batch).await;
        self.metrics.spans(if exported.is_ok() { "sent" } else { "lost" }, count);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
