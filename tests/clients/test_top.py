"""R-EXPL-6: `tollgate top` in a terminal of 80 x 24, driven as a person does, and what it leaves behind."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import unittest

from case import NodeCase
from node import eventually

CONFIG = """
[orgs."busy"]
executions = { calendar_month = 100000 }
[orgs."denied"]
executions = { calendar_month = 1 }
[orgs."full"]
executions = { calendar_month = 10 }
"""
TMUX = shutil.which("tmux")


class Terminal:
    """A shell in tmux, with a server of its own."""

    def __init__(self, width=80, height=24):
        self.dir = tempfile.mkdtemp(prefix="tollgate-tmux-")
        self.socket = os.path.join(self.dir, "s")
        environment = {key: value for key, value in os.environ.items() if key != "TMUX"} | {"PS1": "shell$ ", "TERM": "screen"}
        self.tmux("-f", "/dev/null", "new-session", "-d", "-c", self.dir, "-x", str(width), "-y", str(height),
                  "env -u BASH_ENV bash --norc --noprofile", environment=environment)

    def tmux(self, *arguments, environment=None):
        ran = subprocess.run([TMUX, "-S", self.socket, *arguments], capture_output=True, text=True, env=environment, timeout=30)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def type(self, text):
        self.tmux("send-keys", "-l", text)

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def run(self, command):
        self.type(command)
        self.press("Enter")

    def resize(self, width, height):
        self.tmux("set-option", "-g", "window-size", "manual")
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def lines(self):
        return self.tmux("capture-pane", "-p").split("\n")[:-1]

    def is_alternate(self):
        return self.tmux("display-message", "-p", "#{alternate_on}").strip() == "1"

    def close(self):
        subprocess.run([TMUX, "-S", self.socket, "kill-server"], capture_output=True, timeout=30)
        shutil.rmtree(self.dir, ignore_errors=True)


def rows(lines):
    """The first words of the rows, between the headings and the keys."""
    return [line.split()[0] for line in lines[3:-1] if line.strip()]


class Top(NodeCase):
    def begun(self):
        node = self.node(config=CONFIG)
        plane = self.plane(node)
        for _ in range(9):
            plane.gate.Acquire(org="full")
        for _ in range(12):
            plane.gate.Acquire(org="busy")
        for _ in range(6):
            plane.gate.Acquire(org="denied")
        eventually(lambda: len(plane.admin.ListOrgs().orgs) == 3, "what is written behind is listed when it is stored")
        return node, plane

    def command(self, node, *arguments):
        return shlex.join([str(node.binary), "top", "--addr", node.grpc, *arguments])

    def test_once_prints_a_table_for_a_pipe(self):
        node, _ = self.begun()
        run = lambda *more: node.run("top", "--once", "--every", "200ms", *more, "--addr", node.grpc)  # noqa: E731
        for order, first in [("calls", "busy"), ("denied", "denied"), ("used", "denied")]:
            shown = run("--by", order)
            self.assertEqual((shown.returncode, shown.stderr), (0, ""))
            lines = shown.stdout.splitlines()
            self.assertRegex(lines[0], r"^ORG +STATE +ALLOW/S +DENY/S +OPEN/S +DENIED TODAY +USED +LIMIT$")
            self.assertEqual(lines[1].split()[0], first)
        listed = json.loads(run("-o", "json", "--limit", "2").stdout)
        self.assertEqual([row["org"] for row in listed["orgs"]], ["busy", "full"])
        no_screen = node.run("top", "--addr", node.grpc)
        self.assertEqual(no_screen.returncode, 2)
        self.assertIn("`top --once` prints one table", no_screen.stderr)

    @unittest.skipUnless(TMUX, "without tmux: a terminal that is driven")
    def test_a_person_sorts_resizes_and_quits_and_the_shell_is_as_it_was(self):
        node, plane = self.begun()
        terminal = Terminal()
        self.addCleanup(terminal.close)
        terminal.run("echo be''fore; stty -a > before")
        terminal.run(self.command(node, "--every", "300ms", "--timeout", "500ms"))
        eventually(lambda: "busy" in rows(terminal.lines()), "the first frame")
        lines = terminal.lines()
        self.assertEqual((len(lines), terminal.is_alternate()), (24, True))
        self.assertTrue(lines[0].startswith("tollgate top  "), lines)
        self.assertEqual(lines[1], "3 orgs")
        self.assertEqual(lines[23], "sort: c calls  d denied  u used  o fail-open  arrows scroll  q quits")
        self.assertEqual(rows(lines), ["busy", "full", "denied"])
        terminal.press("d")
        eventually(lambda: rows(terminal.lines())[:1] == ["denied"], "sorted by denials")
        terminal.press("c")

        def is_live():
            plane.gate.Acquire(org="full")
            plane.gate.Acquire(org="denied")
            return rows(terminal.lines())[:1] != ["busy"]

        eventually(is_live, "what happens now comes before what happened today")
        terminal.resize(60, 10)
        eventually(lambda: len(terminal.lines()) == 10 and terminal.lines()[9].startswith("sort: "), "a frame of 60 x 10")
        terminal.resize(80, 24)
        node.process.send_signal(signal.SIGSTOP)
        self.addCleanup(node.process.send_signal, signal.SIGCONT)
        eventually(lambda: "NO ANSWER, first " in terminal.lines()[1], "that the node is away")
        self.assertEqual(len(rows(terminal.lines())), 3, "the rows stay")
        node.process.send_signal(signal.SIGCONT)
        eventually(lambda: terminal.lines()[1] == "3 orgs", "it is back")
        terminal.press("q")
        self.left_as_it_was(terminal)

    @unittest.skipUnless(TMUX, "without tmux: a terminal that is driven")
    def test_a_signal_and_ctrl_c_leave_the_shell_as_it_was(self):
        node, _ = self.begun()
        for end in ("C-c", "TERM", "INT"):
            with self.subTest(end):
                terminal = Terminal()
                self.addCleanup(terminal.close)
                terminal.run("echo be''fore; stty -a > before")
                terminal.run(self.command(node))
                eventually(lambda: terminal.is_alternate() and "busy" in rows(terminal.lines()), "the first frame")  # noqa: B023
                if end == "C-c":
                    terminal.press("C-c")
                else:
                    shell = terminal.tmux("display-message", "-p", "#{pane_pid}").strip()
                    children = subprocess.run(["pgrep", "-P", shell], capture_output=True, text=True, check=True)
                    os.kill(int(children.stdout), signal.Signals[f"SIG{end}"])
                self.left_as_it_was(terminal)

    def left_as_it_was(self, terminal):
        eventually(lambda: not terminal.is_alternate(), "the shell's own screen")
        self.assertIn("before", terminal.lines(), "what was there before")
        terminal.run("stty -a > after; cmp before after && echo sa''me; rm -f before after")
        eventually(lambda: "same" in terminal.lines(), "typing goes to the shell, with the settings of before")


if __name__ == "__main__":
    unittest.main()
