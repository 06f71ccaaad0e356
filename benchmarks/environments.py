"""Environments for others' packages, and what machine and versions figures were made with."""

from __future__ import annotations

import datetime as dt
import functools
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

OF_OURS = ("aiohttp", "httptools", "openai", "openai-parallel-toolkit", "uvloop")


def home():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "openai-parallel-toolkit-benchmarks"


@functools.cache
def made(packages):
    """The interpreter of an environment of packages and the first one's version; or None and why.

    Args:
        packages: names with spaces between.
    """
    first, folder = packages.split()[0], home() / packages.replace(" ", "-")
    python = folder / "bin" / "python"
    steps = [
        [str(python), "-c", f"from importlib import metadata; print(metadata.version({first!r}))"]
    ]
    if not python.exists():
        install = [str(python), "-m", "pip", "install", "--quiet", *packages.split()]
        steps = [[sys.executable, "-m", "venv", str(folder)], install, *steps]
    for step in steps:
        done = subprocess.run(step, check=False, capture_output=True, text=True)
        if done.returncode:
            return None, done.stderr.strip().splitlines()[-1]
    return str(python), done.stdout.strip()


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def machine():
    """What figures hang on, in words."""
    ours = ", ".join(f"{name} {version(name)}" for name in OF_OURS if version(name))
    return (
        f"{dt.datetime.now(dt.timezone.utc).date()}: {processor()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}; "
        f"load {os.getloadavg()[0]:.1f} at the end; {ours}"
    )
