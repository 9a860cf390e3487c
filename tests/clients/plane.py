"""A client with stock grpcio and no generated code: what a message looks like is asked of the node.

Messages are given as keyword arguments and come back as messages; names are those of the protos.
"""

import threading
import time
import urllib.error
import urllib.request

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

CALL_WITHIN = 15.0
SERVICES = {
    "gate": "tollgate.v1.GateService",
    "budget": "tollgate.v1.BudgetService",
    "session": "tollgate.v1.SessionService",
    "pool": "tollgate.v1.PoolService",
    "admin": "tollgate.admin.v1.AdminService",
    "envoy": "envoy.service.ratelimit.v3.RateLimitService",
}

_described = threading.Lock()
_pool = None


def descriptors(channel):
    """The protos by reflection v1alpha, which is what the stock package asks; once per run."""
    global _pool
    with _described:
        if _pool is None:
            pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
            for service in SERVICES.values():
                found(pool, service)
            _pool = pool
        return _pool


def found(pool, service):
    """None where an older node has no such service."""
    try:
        return pool.FindServiceByName(service)
    except (KeyError, grpc.RpcError) as error:
        if isinstance(error, grpc.RpcError) and error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return None


def list_services(channel, version):
    """Asks reflection `v1` or `v1alpha`; their messages are the same on the wire."""
    ask = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = ask(iter([request]), timeout=CALL_WITHIN)
    return {service.name for service in answer.list_services_response.service}


class Service:
    """The rpcs of one service as methods."""

    def __init__(self, channel, pool, full_name):
        self.descriptor = pool.FindServiceByName(full_name)
        for method in self.descriptor.methods:
            setattr(self, method.name, self._caller(channel, full_name, method))

    @staticmethod
    def _caller(channel, service, method):
        request = message_factory.GetMessageClass(method.input_type)
        response = message_factory.GetMessageClass(method.output_type)
        streams = method.client_streaming
        kind = channel.stream_stream if streams else channel.unary_stream if method.server_streaming else channel.unary_unary
        call = kind(
            f"/{service}/{method.name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        if streams:
            return lambda requests, timeout=CALL_WITHIN, metadata=None: call(
                (request(**fields) for fields in requests), timeout=timeout, metadata=metadata, wait_for_ready=True
            )
        return lambda timeout=CALL_WITHIN, metadata=None, **fields: call(
            request(**fields), timeout=timeout, metadata=metadata, wait_for_ready=True
        )


class Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Sends a token with every call."""

    def __init__(self, token):
        self._token = token

    def _with_token(self, details):
        return details._replace(metadata=[*(details.metadata or []), ("authorization", f"Bearer {self._token}")])

    def intercept_unary_unary(self, continuation, client_call_details, request):
        return continuation(self._with_token(client_call_details), request)

    def intercept_unary_stream(self, continuation, client_call_details, request):
        return continuation(self._with_token(client_call_details), request)

    def intercept_stream_stream(self, continuation, client_call_details, request_iterator):
        return continuation(self._with_token(client_call_details), request_iterator)


class Plane:
    """One client process, as far as a node can tell: a channel of its own."""

    def __init__(self, address, ca=None, token=None, certificate=None, options=()):
        """`certificate`: a chain in PEM, and its key. `options`: of the channel."""
        # Channels of one process share connections unless told otherwise.
        options = [("grpc.use_local_subchannel_pool", 1), *options]
        if ca is None:
            self.channel = grpc.insecure_channel(address, options=options)
        else:
            chain, key = certificate or (None, None)
            credentials = grpc.ssl_channel_credentials(ca, key, chain)
            self.channel = grpc.secure_channel(address, credentials, options=options)
        if token is not None:
            self.channel = grpc.intercept_channel(self.channel, Bearer(token))
        self.health = health_pb2_grpc.HealthStub(self.channel)
        self.wait_until_serving()
        pool = descriptors(self.channel)
        for name, service in SERVICES.items():
            if found(pool, service):
                setattr(self, name, Service(self.channel, pool, service))

    def is_serving(self):
        """What health answers now, for the node as a whole."""
        answer = self.health.Check(health_pb2.HealthCheckRequest(), timeout=CALL_WITHIN)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    def wait_until_serving(self, within=15.0):
        until = time.monotonic() + within
        status = None
        while time.monotonic() < until:
            answer = self.health.Check(health_pb2.HealthCheckRequest(), timeout=CALL_WITHIN, wait_for_ready=True)
            status = answer.status
            if status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(0.02)
        raise AssertionError(f"not SERVING within {within} s but {status}")

    def close(self):
        self.channel.close()


def with_metadata(plane, service, rpc, **fields):
    """The answer of a unary rpc, and the metadata that came with it."""
    method = descriptors(plane.channel).FindServiceByName(SERVICES[service]).methods_by_name[rpc]
    request = message_factory.GetMessageClass(method.input_type)
    call = plane.channel.unary_unary(
        f"/{SERVICES[service]}/{rpc}", request_serializer=request.SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString)
    answer, done = call.with_call(request(**fields), timeout=CALL_WITHIN)
    return answer, dict(done.initial_metadata())


class Refusal:
    """What an error status says: code, message, machine-readable reason, refused fields."""

    def __init__(self, error):
        self.code, self.message = error.code(), error.details()
        self.reason, self.domain, self.fields, self.retry_after = None, None, [], None
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        for detail in status_pb2.Status.FromString(details).details:
            info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.reason, self.domain = info.reason, info.domain
            elif detail.Unpack(bad):
                self.fields = [violation.field for violation in bad.field_violations]
            elif detail.Unpack(retry):
                self.retry_after = retry.retry_delay.ToTimedelta().total_seconds()


def refusal(call, *args, **kwargs):
    """The error that a call is answered with; an AssertionError where it is none."""
    try:
        answer = call(*args, **kwargs)
    except grpc.RpcError as error:
        return Refusal(error)
    raise AssertionError(f"not refused but answered: {answer}")


def code_name(answer, field="code"):
    """`DECISION_CODE_RATE_LIMITED` as `RATE_LIMITED`."""
    values = answer.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return values[getattr(answer, field)].name.removeprefix("DECISION_CODE_")


def limit(answer, name, scope=""):
    """The limit of that name."""
    (found,) = [each for each in answer.limits if each.name == name and each.scope == scope]
    return found


def ready(http):
    """What `/readyz` answers: the status, and the text that names what is wrong."""
    try:
        with urllib.request.urlopen(f"http://{http}/readyz", timeout=CALL_WITHIN) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode().strip()


def metric(http, name, **labels):
    """What the node's metrics say now: the sample of that name and these labels, 0 where there is none."""
    with urllib.request.urlopen(f"http://{http}/metrics", timeout=CALL_WITHIN) as answer:
        samples = [line.rpartition(" ") for line in answer.read().decode().splitlines() if not line.startswith("#")]
    wanted = {f'{key}="{value}"' for key, value in labels.items()}

    def matches(series):
        found, _, rest = series.partition("{")
        return found == name and set(rest.removesuffix("}").split(",")) - {""} == wanted

    return sum(float(value) for series, _, value in samples if matches(series))
