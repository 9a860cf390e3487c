"""A collector of OpenTelemetry: keeps every span that it is sent over OTLP (gRPC)."""

import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

EXPORT = "opentelemetry.proto.collector.trace.v1.TraceService"


class Collector:
    def __init__(self, port=0):
        self._spans, self._resources, self._lock = [], [], threading.Lock()
        handler = grpc.unary_unary_rpc_method_handler(
            self._export, service.ExportTraceServiceRequest.FromString, service.ExportTraceServiceResponse.SerializeToString)
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(EXPORT, {"Export": handler}),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _export(self, request, _):
        with self._lock:
            for of_resource in request.resource_spans:
                about = attributes(of_resource.resource.attributes)
                for of_scope in of_resource.scope_spans:
                    self._spans += [Span(span, about) for span in of_scope.spans]
        return service.ExportTraceServiceResponse()

    def spans(self, trace=None):
        """All of them, or those of a trace, which is 32 digits."""
        with self._lock:
            return [span for span in self._spans if trace in (None, span.trace)]

    def close(self):
        """May be called again."""
        self._server.stop(None).wait()


class Span:
    def __init__(self, span, about):
        self.name, self.about, self.says = span.name, about, attributes(span.attributes)
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.began, self.ended, self.kind = span.start_time_unix_nano, span.end_time_unix_nano, span.kind
        self.failed = span.status.message if span.status.code == 2 else None

    def __repr__(self):
        return f"{self.name} {self.says}"


def attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
