"""HTTP/2 frame by frame: a caller that behaves as a test wants it to."""

import select
import socket
import struct
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

ACQUIRE = "/tollgate.v1.GateService/Acquire"
GRPC = "application/grpc"


def message(payload):
    """As gRPC frames it."""
    return b"\0" + struct.pack(">I", len(payload)) + payload


def acquire(org):
    """An encoded AcquireRequest that names the org and nothing else."""
    name = org.encode()
    return b"\x0a" + bytes([len(name)]) + name


def dial(address, source=None, receive=None):
    """A connected socket, from a source address and with a receive buffer of so many bytes."""
    host, port = address.rsplit(":", 1)
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    if source:
        made.bind((source, 0))
    made.settimeout(10)
    made.connect((host, int(port)))
    return made


def closes(peer, within):
    """Whether the other end closes within so many seconds, whatever it says before."""
    until = time.monotonic() + within
    while (left := until - time.monotonic()) > 0:
        peer.settimeout(left)
        try:
            if not peer.recv(65536):
                return True
        except (ConnectionError, BrokenPipeError):
            return True
        except TimeoutError:
            return False
    return False


def is_cut(peer, within):
    """The same without taking anything of what the other end has said."""
    poll = select.poll()
    poll.register(peer, select.POLLRDHUP)
    return bool(poll.poll(within * 1000))


class Caller:
    """One connection. Answers are kept by stream; nothing is acknowledged unless asked for."""

    def __init__(self, address, settings=None, **dialled):
        self.socket = dial(address, **dialled)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.http.initiate_connection()
        if settings:
            self.http.update_settings(settings)
        self.headers, self.data, self.ended, self.reset, self.gone = {}, {}, set(), {}, False
        self.flush()

    def flush(self):
        try:
            self.socket.sendall(self.http.data_to_send())
        except (ConnectionError, BrokenPipeError):
            self.gone = True

    def ask(self, path=ACQUIRE, content_type=GRPC, data=b"", end=True):
        """Begins a request; its stream."""
        stream = self.http.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "node"),
                   ("content-type", content_type), ("te", "trailers")]
        self.http.send_headers(stream, headers)
        if data or end:
            self.http.send_data(stream, data, end_stream=end)
        self.flush()
        return stream

    def read(self, until, within=10):
        """Reads until a condition holds; whether it did."""
        end = time.monotonic() + within
        while not until() and not self.gone and (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                received = self.socket.recv(65536)
            except TimeoutError:
                break
            except ConnectionError:
                received = b""
            if not received:
                self.gone = True
                break
            try:
                events = self.http.receive_data(received)
            except h2.exceptions.ProtocolError:
                # The library takes a GOAWAY for the end, and the node goes on until it has answered.
                self.gone = True
                break
            for event in events:
                self._take(event)
            self.flush()
        return until()

    def _take(self, event):
        stream = getattr(event, "stream_id", None)
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            self.headers.setdefault(stream, {}).update(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.data[stream] = self.data.get(stream, b"") + event.data
            self.http.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(stream)
        elif isinstance(event, h2.events.StreamReset):
            self.reset[stream] = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.gone = True

    def answer(self, stream, within=10):
        """Headers and trailers of an answer, as one dictionary; empty where none came."""
        self.read(lambda: stream in self.ended or stream in self.reset, within)
        return self.headers.get(stream, {})

    def close(self):
        self.socket.close()
