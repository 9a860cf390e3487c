"""The one address of a PostgreSQL whose server may change: connections are passed on to whoever is the primary.

It is what a virtual address or a proxy is in production. As a process of its own, so that it does not share an
interpreter with the callers of a test:

    relay.py HOST:PORT HOST:PORT     listens on the first, passes on to the second

Each line on its stdin is another address to pass on to; what is open is closed. It ends when its stdin does.
"""

import asyncio
import subprocess
import sys

CONNECT_WITHIN = 5.0
WITHIN = 15.0
CHUNK = 65536


class Relay:
    """Runs until it is closed, or until the test that started it is gone."""

    def __init__(self, listen, target):
        """Each is (host, port)."""
        self.listen = listen
        self._process = subprocess.Popen([sys.executable, __file__, _text(listen), _text(target)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._confirmed()

    def to(self, target):
        self._process.stdin.write(_text(target) + "\n")
        self._process.stdin.flush()
        self._confirmed()

    def _confirmed(self):
        if not self._process.stdout.readline():
            raise AssertionError(f"the relay ended with {self._process.wait(WITHIN)}")

    def close(self):
        """May be called again."""
        self._process.stdin.close()
        self._process.wait(WITHIN)
        self._process.stdout.close()


def _text(address):
    return "{}:{}".format(*address)


def _address(text):
    host, port = text.strip().rsplit(":", 1)
    return host, int(port)


class Passing:
    """The connections that are open, and where new ones go."""

    def __init__(self, target):
        self.target = target
        self._open = set()

    def change(self, target):
        self.target = target
        for writer in list(self._open):
            writer.transport.abort()

    async def accept(self, reader, writer):
        self._open.add(writer)
        there = None
        try:
            opening = asyncio.open_connection(*self.target)
            answers, there = await asyncio.wait_for(opening, CONNECT_WITHIN)
            self._open.add(there)
            ways = [asyncio.create_task(copy(*way)) for way in ((reader, there), (answers, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        # Cancelled where the relay ends: nobody waits for it.
        except (OSError, asyncio.TimeoutError, asyncio.CancelledError):
            pass
        finally:
            for each in (writer, there):
                if each is not None:
                    self._open.discard(each)
                    each.transport.abort()


async def copy(reader, writer):
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass


async def serve(listen, target):
    passing = Passing(target)
    server = await asyncio.start_server(passing.accept, *listen)
    print("up", flush=True)
    async with server:
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            passing.change(_address(line))
            print("changed", flush=True)
        passing.change(target)


if __name__ == "__main__":
    asyncio.run(serve(_address(sys.argv[1]), _address(sys.argv[2])))
