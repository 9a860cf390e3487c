"""What crosses between two processes in the clear, as a third one in between sees it."""

import socket
import threading

CHUNK = 65536


class Recorder:
    """Passes connections on, and keeps what the one that opened them has sent."""

    def __init__(self, target):
        self._target = target
        self._sent = bytearray()
        self._lock = threading.Lock()
        self._open = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._listener.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def sent(self):
        with self._lock:
            return bytes(self._sent)

    def _accept(self):
        while True:
            try:
                here, _ = self._listener.accept()
                host, port = self._target.rsplit(":", 1)
                there = socket.create_connection((host, int(port)), timeout=5)
                there.settimeout(None)
            except OSError:
                if self._listener.fileno() < 0:
                    return
                continue
            self._open += [here, there]
            threading.Thread(target=self._copy, args=(here, there, True), daemon=True).start()
            threading.Thread(target=self._copy, args=(there, here, False), daemon=True).start()

    def _copy(self, source, target, is_kept):
        try:
            while data := source.recv(CHUNK):
                if is_kept:
                    with self._lock:
                        self._sent += data
                target.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            target.close()

    def close(self):
        """May be called again."""
        self._listener.close()
        for each in self._open:
            each.close()
