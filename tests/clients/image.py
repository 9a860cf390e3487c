"""The Dockerfile without a container engine: its steps are carried out in a folder, and what comes of them is started.

Two things are not as in a build:

* `FROM` an image with tools is this machine's own root under an overlay, so that a step writes nowhere else; `FROM` the
  distroless image is a folder with `LIBRARIES` of this machine and the accounts of the image.
* `cargo build` copies the release that is there already. It takes the very arguments of the Dockerfile and no others.

Needs root: mounts, a root of its own, a network of its own. What this file does not know it refuses.
"""

import fcntl
import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

# What gcr.io/distroless/cc-debian12 has for a program: libc6, libgcc-s1, libstdc++6, libgomp1 and libssl3 of Debian 12.
LIBRARIES = {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6",
             "libgomp.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libresolv.so.2", "libssl.so.3", "libcrypto.so.3"}
# Of the same image: glibc of Debian 12.
GLIBC = (2, 36)
NONROOT = 65532
DISTROLESS = "gcr.io/distroless/"
PATH = "/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CARGO = "build --release --locked --bin tollgate"
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


class Refused(AssertionError):
    """A step that cannot be carried out, or that is not known here."""


def instructions(text):
    """(name, arguments) of each instruction, with continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    for line in joined.splitlines():
        name, _, rest = line.partition(" ")
        if "<<" in rest:
            raise Refused(f"here-documents are not known here: {line}")
        yield name.upper(), rest.strip()


class Ignored:
    """`.dockerignore`: the last pattern that matches a path or a folder above it decides."""

    def __init__(self, text):
        lines = [line.strip() for line in text.splitlines()]
        self.patterns = [line for line in lines if line and not line.startswith("#")]

    def __call__(self, path):
        ignored = False
        above = [path, *[str(parent) for parent in pathlib.PurePosixPath(path).parents if str(parent) != "."]]
        for pattern in self.patterns:
            wanted = pattern.lstrip("!").strip("/")
            if any(fnmatch.fnmatchcase(each, wanted) for each in above):
                ignored = not pattern.startswith("!")
        return ignored


def context(root, target):
    """Copies what a build would be sent, of the files that the repository has or would take."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=root, capture_output=True,
                            text=True, check=True).stdout.splitlines()
    ignored = Ignored((root / ".dockerignore").read_text(encoding="utf-8"))
    sent = [path for path in listed if not ignored(path) and (root / path).is_file()]
    for path in sent:
        copy = target / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, copy)
    return sent


class Stage:
    """What one FROM begins."""

    def __init__(self, base, folder):
        self.base = base
        self.folder = folder
        self.environment = {}
        self.workdir = "/"
        self.shell = ["/bin/sh", "-c"]
        self.config = {"labels": {}, "ports": [], "volumes": []}
        folder.mkdir(parents=True)


class Build:
    """Carries out a Dockerfile; the last stage is the image."""

    def __init__(self, text, sent, binary, folder, arguments):
        self.sent, self.binary, self.folder = sent, pathlib.Path(binary).resolve(), folder
        self.given = arguments
        # Before the first FROM they are those of every FROM.
        self.arguments = {}
        self.stages = {}
        self.stage = None
        self.steps = []
        for name, rest in instructions(text):
            step = getattr(self, f"do_{name.lower()}", None)
            if step is None:
                raise Refused(f"{name} is not known here")
            step(self.substituted(rest) if name not in ("RUN", "SHELL") else rest)
            self.steps.append(name)

    def substituted(self, text):
        values = self.arguments | (self.stage.environment if self.stage else {})
        return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)

    def do_from(self, rest):
        base, *name = re.split(r"\s+AS\s+", rest, flags=re.IGNORECASE)
        self.stage = Stage(base, self.folder / f"stage-{len(self.stages)}")
        self.stages[name[0] if name else str(len(self.stages))] = self.stage
        if base.startswith(DISTROLESS):
            distroless(self.stage.folder, self.binary)

    def do_arg(self, rest):
        name, _, default = rest.partition("=")
        value = self.given.get(name, default)
        if self.stage is None:
            self.arguments[name] = value
        else:
            self.stage.environment[name] = value

    def do_env(self, rest):
        for name, value in (word.split("=", 1) for word in shlex.split(rest)):
            self.stage.environment[name] = value

    def do_shell(self, rest):
        self.stage.shell = json.loads(rest)

    def do_workdir(self, rest):
        self.stage.workdir = rest
        (self.stage.folder / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def do_copy(self, rest):
        flags = [word for word in rest.split() if word.startswith("--")]
        *sources, target = [word for word in rest.split() if not word.startswith("--")]
        options = dict(flag[2:].split("=", 1) for flag in flags)
        if not set(options) <= {"from", "chown"}:
            raise Refused(f"COPY {rest}")
        root = self.stages[options["from"]].folder if "from" in options else self.sent
        to = self.stage.folder / os.path.join(self.stage.workdir, target).lstrip("/")
        owner = [int(part) for part in options.get("chown", "0:0").split(":")]
        for source in sources:
            path = root / source.lstrip("/")
            if not path.exists():
                raise Refused(f"COPY {source}: there is no such file in the context")
            if path.is_file():
                raise Refused("COPY of one file is not known here")
            shutil.copytree(path, to, dirs_exist_ok=True, symlinks=True)
            for each in [to, *to.rglob("*")]:
                os.chown(each, *owner, follow_symlinks=False)

    def do_run(self, rest):
        mounts = re.findall(r"--mount=type=cache(?:,id=\S+?)?,target=(\S+)", rest)
        command = re.sub(r"--mount=\S+\s*", "", rest)
        if "--" in command.split()[0]:
            raise Refused(f"RUN {rest}")
        asked = json.dumps({"upper": str(self.stage.folder), "caches": mounts, "binary": str(self.binary),
                            "workdir": self.stage.workdir, "command": [*self.stage.shell, command],
                            "environment": self.stage.environment | {"PATH": PATH, "HOME": "/root"}})
        done = apart("step", asked, "--mount")
        if done.returncode:
            raise Refused(f"RUN {command}: {done.stdout}{done.stderr}")

    def do_label(self, rest):
        self.stage.config["labels"] |= dict(word.split("=", 1) for word in shlex.split(rest))

    def do_expose(self, rest):
        self.stage.config["ports"] += [int(port) for port in rest.split()]

    def do_volume(self, rest):
        self.stage.config["volumes"] += json.loads(rest)

    def do_user(self, rest):
        self.stage.config["user"] = tuple(int(part) for part in rest.split(":"))

    def do_stopsignal(self, rest):
        self.stage.config["stop"] = rest

    def do_entrypoint(self, rest):
        self.stage.config["entrypoint"] = json.loads(rest)

    def do_cmd(self, rest):
        self.stage.config["command"] = json.loads(rest)

    def start(self, data, more, **options):
        """Starts the image as an engine does: its user, a root that is read only, a network of its own, `data` mounted."""
        config = self.stage.config
        asked = json.dumps({"root": str(self.stage.folder), "data": str(data), "volume": config["volumes"][0],
                            "workdir": self.stage.workdir, "user": config["user"],
                            "command": [*config["entrypoint"], *config["command"], *more]})
        return subprocess.Popen([*unshared("--mount", "--net"), "run", asked], **options)


def unshared(*kinds):
    return ["unshare", *kinds, "--propagation", "private", sys.executable, __file__]


def apart(verb, asked, *kinds):
    return subprocess.run([*unshared(*kinds), verb, asked], capture_output=True, text=True, timeout=120, check=False)


def why_not():
    """Why this machine cannot do it; empty where it can."""
    if os.geteuid() != 0:
        return "only root may mount"
    tools = [tool for tool in ("unshare", "nsenter", "mount", "chroot", "setpriv", "ldd") if not shutil.which(tool)]
    if tools:
        return f"{', '.join(tools)} is not installed (Debian: util-linux, libc-bin)"
    with tempfile.TemporaryDirectory(prefix="tollgate-image-") as folder:
        tried = apart("try", json.dumps(folder), "--mount", "--net")
    return tried.stderr.strip() if tried.returncode else ""


def needed(binary):
    """name -> path of each library that the binary is started with."""
    said = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=True).stdout
    return {os.path.basename(path): path for path in re.findall(r"(/\S+) \(0x", said)}


def newest_glibc(binary):
    """The newest version of glibc that it names a symbol of."""
    found = re.findall(rb"GLIBC_(\d+)\.(\d+)", pathlib.Path(binary).read_bytes())
    return max((int(major), int(minor)) for major, minor in found)


def distroless(folder, binary):
    for name, path in needed(binary).items():
        if name not in LIBRARIES:
            raise Refused(f"{name} is not in the image")
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.path.realpath(path), target)
    for name in ("etc", "proc", "dev", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "etc/passwd").write_text(f"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:{NONROOT}:{NONROOT}:nonroot:/home/nonroot:/sbin/nologin\n")
    (folder / "etc/group").write_text(f"root:x:0:\nnonroot:x:{NONROOT}:\n")


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


# From here on: in namespaces of its own.


def over_this_machine(upper):
    """This machine's root with what is written in `upper` over it."""
    work, root = (upper.parent / f"{upper.name}-{name}" for name in ("work", "root"))
    for folder in (upper, work, root):
        folder.mkdir(exist_ok=True)
    mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", root)
    return root


def try_out(folder):
    """Whether what is needed is allowed here: ends with an error where it is not."""
    loopback_up()
    over_this_machine(pathlib.Path(folder) / "upper")


def step(asked):
    """One RUN."""
    root = over_this_machine(pathlib.Path(asked["upper"]))
    tools = root / "usr/local/cargo/bin"
    for cache in asked["caches"]:
        (root / cache.lstrip("/")).mkdir(parents=True, exist_ok=True)
        mount("-t", "tmpfs", "none", root / cache.lstrip("/"))
    tools.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "none", tools)
    cargo = tools / "cargo"
    # The binary may lie under a folder that a mount hides.
    shutil.copy2(asked["binary"], tools / "release")
    cargo.write_text(f'#!/bin/sh\n[ "$*" = "{CARGO}" ] || {{ echo "cargo $*: not what is replaced here" >&2; exit 1; }}\n'
                     f'[ -f Cargo.toml ] && [ -f Cargo.lock ] && [ -d src ] && [ -d proto ] || exit 1\n'
                     f'exec install -D /usr/local/cargo/bin/release target/release/tollgate\n')
    cargo.chmod(0o755)
    os.chroot(root)
    os.chdir(asked["workdir"])
    os.execvpe(asked["command"][0], asked["command"], asked["environment"])


def run(asked):
    """The image. What it is started with is what an engine gives with `--read-only --cap-drop=ALL` and a volume."""
    root, user = pathlib.Path(asked["root"]), asked["user"]
    loopback_up()
    mount("--bind", root, root)
    mount("-o", "remount,bind,ro", root)
    mount("--bind", asked["data"], root / asked["volume"].lstrip("/"))
    mount("--rbind", "/proc", root / "proc")
    in_root = ["chroot", f"--userspec={user[0]}:{user[1]}", "--groups=", str(root)]
    os.execvpe("setpriv", ["setpriv", "--no-new-privs", *in_root, *asked["command"]], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        name = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(asked, SIOCGIFFLAGS, name))[1]
        fcntl.ioctl(asked, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


if __name__ == "__main__":
    {"step": step, "run": run, "try": try_out}[sys.argv[1]](json.loads(sys.argv[2]))
