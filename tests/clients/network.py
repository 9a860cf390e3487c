"""Nodes in network namespaces, each with three cables: to PostgreSQL, to other nodes, and to callers. A cable that is cut
drops what is sent, as a network does: nobody gets an error from it. Only root may."""

import itertools
import os
import random
import shutil
import subprocess
import unittest

WITHIN = 30
_numbers = itertools.count()
STORE, PEERS, CALLERS = CABLES = ("store", "peers", "callers")


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN,
                          check=False)
    if done.returncode:
        raise AssertionError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """Three bridges of this machine, until it is closed."""

    def __init__(self):
        if os.getuid() != 0 or not shutil.which("ip"):
            raise unittest.SkipTest("network namespaces need root and `ip` (Debian: iproute2)")
        # Other runs on this machine have other names and addresses; and a namespace takes its cables with it only later.
        self._name = f"tg{os.getpid() % 100000:05}{next(_numbers) % 100:02}"
        self._net = f"10.{random.randint(64, 127)}"
        self._spaces, self._bridges = [], []
        try:
            for number, cable in enumerate(CABLES, 1):
                bridge = f"{self._name}{cable[0]}"
                try:
                    ip("link", "add", bridge, "type", "bridge")
                except AssertionError as error:
                    raise unittest.SkipTest(f"network namespaces are not allowed here: {error}") from None
                self._bridges.append(bridge)
                ip("addr", "add", f"{self._net}.{number}.1/24", "dev", bridge)
                ip("link", "set", bridge, "up")
        except BaseException:
            self.close()
            raise

    def here(self, cable):
        """The address of this machine on a cable."""
        return f"{self._net}.{CABLES.index(cable) + 1}.1"

    def add(self, number):
        """A namespace with its cables. Returns the command that runs a program in it."""
        space = f"{self._name}n{number}"
        ip("netns", "add", space)
        self._spaces.append(space)
        ip("-n", space, "link", "set", "lo", "up")
        for at, cable in enumerate(CABLES, 1):
            near = self._near(number, cable)
            ip("link", "add", near, "type", "veth", "peer", "name", cable, "netns", space)
            ip("link", "set", near, "master", self._bridges[at - 1], "up")
            ip("-n", space, "addr", "add", f"{self.address(number, cable)}/24", "dev", cable)
            ip("-n", space, "link", "set", cable, "up")
        return ["ip", "netns", "exec", space]

    def address(self, number, cable):
        return f"{self._net}.{CABLES.index(cable) + 1}.{10 + number}"

    def _near(self, number, cable):
        return f"{self._name}{cable[0]}{number}"

    def cut(self, number, *cables):
        for cable in cables:
            ip("link", "set", self._near(number, cable), "down")

    def mend(self, number, *cables):
        for cable in cables:
            ip("link", "set", self._near(number, cable), "up")

    def close(self):
        """May be called again. Cables go with their namespaces."""
        for space in self._spaces:
            subprocess.run(["ip", "netns", "del", space], check=False, timeout=WITHIN, capture_output=True)
        for bridge in self._bridges:
            subprocess.run(["ip", "link", "del", bridge], check=False, timeout=WITHIN, capture_output=True)
        self._spaces, self._bridges = [], []
