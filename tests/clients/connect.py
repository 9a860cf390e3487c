"""A client of Connect that is nothing but HTTP/1.1 and JSON, as the protocol describes them."""

import http.client
import json
import struct
import urllib.parse

from frames import message

CALL_WITHIN = 15.0
# Of a frame: it says how the stream ended.
ENDS = 2


class Answered:
    """What came back."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """Of an error."""
        return self.json.get("code")

    @property
    def message(self):
        return self.json.get("message", "")

    @property
    def reason(self):
        return reason(self.json)


def reason(error):
    """The reason of an error, out of its details."""
    details = {detail["type"]: detail.get("debug", {}) for detail in error.get("details", [])}
    return details.get("google.rpc.ErrorInfo", {}).get("reason")


class Connect:
    """One connection to `address`, which is a port of a node."""

    def __init__(self, address, token=None):
        host, port = address.rsplit(":", 1)
        self.connection = http.client.HTTPConnection(host, int(port), timeout=CALL_WITHIN)
        self.token = token

    def close(self):
        self.connection.close()

    def send(self, method, path, body=None, **headers):
        """Asks anything; `content_type` is written as the header is called."""
        given = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        if self.token:
            given["authorization"] = f"Bearer {self.token}"
        self.connection.request(method, path, body=body, headers=given)
        answer = self.connection.getresponse()
        return Answered(answer.status, answer.headers, answer.read())

    def post(self, name, body, content_type="application/json", **headers):
        """One rpc: `body` is bytes, or what is written as JSON."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", f"/{name}", body, content_type=content_type, **headers)

    def get(self, name, message, **query):
        """The same by GET."""
        query = {"connect": "v1", "encoding": "json", "message": json.dumps(message), **query}
        return self.send("GET", f"/{name}?{urllib.parse.urlencode(query)}")

    def first_of(self, name, body, content_type="application/connect+json", **headers):
        """The flags and the body of the first frame of a stream, which is left then."""
        given = {"content-type": content_type, **headers}
        if self.token:
            given["authorization"] = f"Bearer {self.token}"
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request("POST", f"/{name}", body=message(body), headers=given)
        answer = self.connection.getresponse()
        flags, length = struct.unpack(">BI", answer.read(5))
        frame = answer.read(length)
        self.connection.close()
        return flags, frame
