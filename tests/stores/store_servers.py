"""Servers of object stores on loopback: moto's for S3, Azurite for Azure, one for Google's."""

import base64
import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from filelock import FileLock

AZURITE = "3.35.0"
_NPM_S = 240
_START_S = 30
ACCOUNT = "devaccount"


class NotHere(Exception):
    """A server cannot be had on this machine; the message is the reason to skip."""


@contextlib.contextmanager
def moto():
    """Start an S3 server; yield its URL."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with _server(command, r"Running on (http://\S+)") as url:
        yield url


@contextlib.contextmanager
def azurite(cache_folder):
    """Start a blob server, installing it when needed; yield its connection string."""
    main = _installed(cache_folder)
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    command = ["node", main, "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck"]
    command += ["--disableTelemetry", "--silent"]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"}
    with _server(command, r"listens on (http://\S+)", environment) as url:
        yield (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
            f"BlobEndpoint={url}/{ACCOUNT};"
        )


@contextlib.contextmanager
def gcs():
    """Start a server that knows much of Google's JSON API; yield its URL."""
    with socket.socket() as probe:  # it does not tell which port it took
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--in-memory"]
    with _server([*command, "--host", "127.0.0.1", "--port", port], "(All services started)"):
        yield f"http://127.0.0.1:{port}"


def _installed(cache_folder):
    folder = os.path.join(cache_folder, f"azurite-{AZURITE}")
    main = os.path.join(folder, "node_modules", "azurite", "dist", "src", "blob", "main.js")
    os.makedirs(folder, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not os.path.exists(main):
            _install(folder)
    return main


def _install(folder):
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise NotHere("Azurite needs node and npm, which are not installed")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder]
    command += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    try:
        done = subprocess.run(
            [*command, f"azurite@{AZURITE}"],
            capture_output=True,
            text=True,
            timeout=_NPM_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotHere("npm could not install Azurite in time") from None
    if done.returncode:
        raise NotHere(f"npm could not install Azurite: {done.stderr.strip()[-200:]}")


@contextlib.contextmanager
def _server(command, ready, environment=None):
    # A file, not a pipe: the server logs every request, and nobody would read them.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        try:
            yield _url(process, said.fileno(), ready.encode())
        finally:
            process.kill()
            process.wait()


def _url(process, said, ready):
    """Return the URL that the server prints when it listens."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        found = re.search(ready, os.pread(said, 65_536, 0))
        if found:
            return found[1].decode()
        time.sleep(0.05)
    raise NotHere(f"{process.args[0]} did not start: {os.pread(said, 2_000, 0)[-300:]!r}")
