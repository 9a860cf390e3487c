"""A PostgreSQL of Debian's packages in a private directory, on a private port, with a password."""

import glob
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

WITHIN = 60
USER, PASSWORD = "tollgate", "not: for%the@log"


def program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if not found:
        raise AssertionError(f"missing: {name}; scripts/test installs it as root (Debian: postgresql)")
    return found[-1]


def free_port():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


class Postgres:
    """Started at once; `close` ends it and leaves nothing."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="tollgate-postgres-")
        self.port = free_port()
        password = pathlib.Path(self.dir, "password")
        password.write_text(PASSWORD, encoding="utf-8")
        # The server refuses to run as root.
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self._as:
            shutil.chown(self.dir, "postgres")
            shutil.chown(password, "postgres")
        self._data = os.path.join(self.dir, "data")
        self._run("initdb", "-A", "scram-sha-256", f"--pwfile={password}", "-U", USER, "-E", "UTF8", "--no-sync")
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        self._run("pg_ctl", "-l", os.path.join(self.dir, "log"), "-w", "-t", str(WITHIN), "-o", settings, "start")

    def _run(self, name, *arguments):
        # Without a pipe: the server would keep it open.
        subprocess.run([*self._as, program(name), "-D", self._data, *arguments], cwd=self.dir, check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=2 * WITHIN)

    @property
    def url(self):
        return f"postgres://{USER}@127.0.0.1:{self.port}/postgres?sslmode=disable"

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

    def close(self):
        self._run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(self.dir, ignore_errors=True)
