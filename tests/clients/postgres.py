"""A PostgreSQL of Debian's packages in a private directory, on a private port, with a password; and its standby."""

import glob
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import time

WITHIN = 60
USER, PASSWORD = "tollgate", "not: for%the@log"
# Below the ports that the kernel gives to outgoing connections: whoever restarts finds its port free.
PORTS = range(15000, 32000)
# In this process: whoever asked before has not bound its port yet.
_given = set()


def program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if not found:
        raise AssertionError(f"missing: {name}; scripts/test installs it as root (Debian: postgresql)")
    return found[-1]


def free_port():
    """A port of loopback that nobody has, and that no connection is given meanwhile."""
    for port in random.sample(PORTS, 200):
        with socket.socket() as made:
            try:
                made.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise AssertionError(f"200 of the ports {PORTS} are taken")


class Postgres:
    """Started at once; `close` ends it and leaves nothing."""

    # With which TLS it is asked.
    mode = "disable"

    def __init__(self):
        self._make()
        password = pathlib.Path(self.dir, "password")
        password.write_text(PASSWORD, encoding="utf-8")
        if self._as:
            shutil.chown(password, "postgres")
        self._run("initdb", "-A", "scram-sha-256", f"--pwfile={password}", "-U", USER, "-E", "UTF8", "--no-sync")
        self.start()

    def _make(self):
        self.dir = tempfile.mkdtemp(prefix="tollgate-postgres-")
        self.port = free_port()
        # The server refuses to run as root.
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self._as:
            shutil.chown(self.dir, "postgres")
        self._data = os.path.join(self.dir, "data")

    def _run(self, name, *arguments):
        # Without a pipe: the server would keep it open.
        subprocess.run([*self._as, program(name), "-D", self._data, *arguments], cwd=self.dir, check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=2 * WITHIN)

    def start(self):
        """Also again, on the same port, after `stop`."""
        # What a crash of the process loses is the same without fsync; with it, a disk that stands still is a database that
        # does not answer, and leases end.
        settings = (f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=200"
                    " -c fsync=off")
        self._run("pg_ctl", "-l", os.path.join(self.dir, "log"), "-w", "-t", str(WITHIN), "-o", settings, "start")

    def stop(self, mode="immediate"):
        """`immediate` is what a crash is to the data; `fast` disconnects everybody and ends in order."""
        self._run("pg_ctl", "-m", mode, "-w", "-t", str(WITHIN), "stop")

    @property
    def is_running(self):
        return os.path.exists(os.path.join(self._data, "postmaster.pid"))

    def standby(self):
        """A synchronous standby of this server: from here on a commit waits for it."""
        return Standby(self)

    def promote(self):
        """Of a standby: it takes over, and nobody is waited for any more."""
        self._run("pg_ctl", "-w", "-t", str(WITHIN), "promote")

    @property
    def address(self):
        return "127.0.0.1", self.port

    @property
    def url(self):
        return f"postgres://{USER}@127.0.0.1:{self.port}/postgres?sslmode={self.mode}"

    @property
    def environment(self):
        return {"PGPASSWORD": PASSWORD}

    def ask(self, sql):
        """Rows as psql prints them, columns with | between them."""
        asked = subprocess.run(["psql", "--no-psqlrc", "-At", "-v", "ON_ERROR_STOP=1", "-d", self.url, "-c", sql],
                               env=os.environ | self.environment, capture_output=True, text=True, timeout=WITHIN,
                               check=False)
        if asked.returncode:
            raise AssertionError(asked.stderr)
        return asked.stdout.splitlines()

    def ask_until(self, sql, wanted, within=WITHIN):
        """Asks again until these are the rows."""
        until = time.monotonic() + within
        while (rows := self.ask(sql)) != wanted:
            if time.monotonic() >= until:
                raise AssertionError(f"not {wanted} within {within} s but {rows}: {sql}")
            time.sleep(0.05)

    def close(self):
        """May be called again, also of a server that has ended."""
        try:
            if self.is_running:
                self.stop()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)


class Standby(Postgres):
    """A copy that follows, until it is promoted."""

    NAME = "standby"

    def __init__(self, primary):
        self._make()
        source = f"host=127.0.0.1 port={primary.port} user={USER} application_name={self.NAME} sslmode=disable"
        # `-c fast`: without it the copy waits for the next checkpoint, which may be minutes away.
        command = [*self._as, program("pg_basebackup"), "-D", self._data, "-d", source, "-R", "-X", "stream",
                   "-c", "fast", "-C", "-S", self.NAME, "--no-sync"]
        try:
            subprocess.run(command, cwd=self.dir, check=True, env=os.environ | self.environment,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=2 * WITHIN)
            self._append(f"primary_conninfo = '{source} password=''{PASSWORD}'''")
            self.start()
            # After the copy was made: once it is promoted it waits for nobody.
            primary.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{self.NAME}'")
            primary.ask("SELECT pg_reload_conf()")
            primary.ask_until("SELECT sync_state FROM pg_stat_replication", ["sync"])
        except BaseException:
            self.close()
            raise

    def _append(self, line):
        with open(os.path.join(self._data, "postgresql.auto.conf"), "a", encoding="utf-8") as settings:
            settings.write(line + "\n")
