"""A receiver of events, on the library of the standard: it takes what is signed, and keeps every attempt."""

import base64
import http.server
import random
import threading
from dataclasses import dataclass, field

from standardwebhooks.webhooks import Webhook


def secret(seed="a"):
    """`whsec_…`, the same for the same seed."""
    return "whsec_" + base64.b64encode((seed * 32).encode()[:32]).decode()


@dataclass
class Receiver:
    """Answers 204, and 500 to a part of the attempts. What cannot be verified is kept in `refused`."""

    secret: str = field(default_factory=secret)
    fails: float = 0.0
    seed: int = 1

    def __post_init__(self):
        self._lock = threading.Lock()
        self._random = random.Random(self.seed)
        # (id, body) of every attempt, and of those that were answered with a receipt.
        self.tried, self.taken, self.refused = [], [], []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}/events"

    def config(self, directory, **keys):
        """The section of a node that delivers here."""
        path = f"{directory}/webhook-secret"
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.secret)
        lines = [f'url = "{self.url}"', f'secret_file = "{path}"', *(f"{key} = {value}" for key, value in keys.items())]
        return "\n".join(["[webhook]", *lines, ""])

    def _handler(receiver):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver._status(dict(self.headers), body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        return Handler

    def _status(self, headers, body):
        with self._lock:
            try:
                message = Webhook(self.secret).verify(body, headers)
            except Exception as error:  # noqa: BLE001: whatever it is, the message is not believed
                self.refused.append(str(error))
                return 401
            attempt = (headers["webhook-id"], message)
            self.tried.append(attempt)
            if self._random.random() < self.fails:
                return 500
            self.taken.append(attempt)
            return 204

    def messages(self):
        """What was taken, repeats included."""
        with self._lock:
            return list(self.taken)

    def attempts(self):
        with self._lock:
            return len(self.tried)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
