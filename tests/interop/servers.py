"""Servers that others wrote, installed if need be and run as processes of their own."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from filelock import FileLock

AIMOCK = "1.43.0"
AIMOCK_NEEDS_NODE = (20, 15)
#: npm's words for a registry that cannot be reached.
NO_REGISTRY = {"EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ENOTFOUND", "ETIMEDOUT"}
CHILD = Path(__file__).with_name("llama_child.py")
OUTCOME = Path(__file__).with_name("outcome.mjs")


@contextlib.contextmanager
def started(*command):
    """Start a server that tells its address on the first line of its output; yields it."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            address = re.search(r"http://[\d.]+:\d+", line)
            assert address, f"{command} told no address: {line!r}"
            yield address[0]
        finally:
            process.kill()


# -- aimock ----------------------------------------------------------------------------------------


def install_aimock():
    """Return the path of aimock's program, from the user's cache folder or the npm registry."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm or node_version(node) < AIMOCK_NEEDS_NODE:
        pytest.skip("aimock needs Node.js 20.15 or later with npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "openai-parallel-toolkit-tests" / f"aimock-{AIMOCK}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent) as fresh:
                npm_install(npm, f"{fresh}/aimock")
                os.rename(f"{fresh}/aimock", place)
    return place / "node_modules" / "@copilotkit" / "aimock" / "dist" / "aimock-cli.js"


def node_version(node):
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", told))


def npm_install(npm, folder):
    options = ["--json", "--ignore-scripts", "--no-audit", "--fund=false"]
    options += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000"]
    done = subprocess.run(
        [npm, "install", *options, "--prefix", folder, f"@copilotkit/aimock@{AIMOCK}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        code = json.loads(done.stdout or "{}").get("error", {}).get("code")
        if code in NO_REGISTRY:
            pytest.skip(f"the npm registry cannot be reached ({code})")
        pytest.fail(f"npm could not install aimock: {done.stdout}{done.stderr}")


class Aimock:
    """A running aimock, told through its control API what to answer."""

    KEYS = ("sk-aimock-one", "sk-aimock-two")

    def __init__(self, address):
        self.address = address
        self.url = f"{address}/v1"
        # The proxies of the environment do not stand before this machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder):
        config = folder / "aimock.json"
        keys = {"apiKeys": list(cls.KEYS)}
        config.write_text(json.dumps({"auth": keys, "llm": {"logLevel": "silent"}}))
        # Its chances come from Math.random.
        options = ("--random-seed=7", f"--import={OUTCOME.as_uri()}")
        with started("node", *options, install_aimock(), "--config", config) as address:
            yield cls(address)

    def url_for(self, outcome):
        """Return the base URL at which all batches end so."""
        return f"{self.address}/{outcome}/v1"

    def reset(self):
        """Forget all answers, chaos and what was seen."""
        self._control("POST", "reset", {})

    def answer(self, match, response, **options):
        """Answer what matches; the first match wins."""
        fixture = {"match": match, "response": response, **options}
        self._control("POST", "fixtures", {"fixtures": [fixture]})

    def chaos(self, **rates):
        """Do so to every request by chance."""
        self._control("POST", "chaos", rates)

    def fail_next(self, status, **error):
        """Answer the next request with an error."""
        self._control("POST", "error", {"status": status, "body": error})

    def seen(self, **fields):
        """Return what was asked and what happened to it, oldest first."""
        return self._control("GET", f"journal?{urllib.parse.urlencode(fields)}")

    def kept(self, kind):
        """Return the "files" or "batches" that it keeps, newest first."""
        return self._ask("GET", f"/v1/{kind}?limit=100")["data"]

    def _control(self, method, path, body=None):
        return self._ask(method, f"/__aimock/{path}", body)

    def _ask(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self.address}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.KEYS[0]}"},
        )
        with self._opener.open(request) as reply:
            return json.load(reply)


# -- llama.cpp -------------------------------------------------------------------------------------


class Llama:
    """A running llama.cpp server over a tiny model."""

    KEY = "sk-llama-good"

    def __init__(self, address):
        self.address = address
        self.url = f"{address}/v1"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder):
        for package in ("xllamacpp", "gguf"):
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed; not every platform has its wheels")
        with started(sys.executable, CHILD, folder, cls.KEY) as address:
            yield cls(address)

    def counted(self, name):
        """Return one of the server's own counters."""
        url, key = f"{self.address}/metrics", {"Authorization": f"Bearer {self.KEY}"}
        with self._opener.open(urllib.request.Request(url, headers=key)) as reply:
            found = re.search(rf"^llamacpp:{name} (\S+)$", reply.read().decode(), re.MULTILINE)
        return int(float(found[1]))
