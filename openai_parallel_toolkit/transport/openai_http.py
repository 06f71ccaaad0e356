"""The HTTP library that the openai package is built on: httpx2; before openai 3, httpx."""

from __future__ import annotations

import importlib
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING

import openai

if TYPE_CHECKING:
    import httpx2 as httpx
else:
    _BASE = openai.DefaultHttpxClient.__mro__[1]
    httpx = importlib.import_module(_BASE.__module__.partition(".")[0])

__all__ = ["httpx", "no_cookies"]


def no_cookies() -> CookieJar:
    """Return a jar that takes none: what a server set for one key would go out under another."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))
