"""Put the page together: one document that loads nothing besides, live or as a report."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from .safe import json_for_page

_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "img-src data:; connect-src {connect}; base-uri 'none'; form-action 'none'"
)


def new_nonce() -> str:
    """Return what marks the page's own scripts and styles."""
    return secrets.token_urlsafe(16)


def policy(nonce: str) -> str:
    """Return the Content-Security-Policy of the live page."""
    return _POLICY.format(nonce=nonce, connect="'self'") + "; frame-ancestors 'none'"


def page(told: Mapping[str, Any], *, nonce: str, is_report: bool = False) -> str:
    """Return the document.

    Args:
        told: what its script begins with; a report has all in it.
        nonce: of the policy; a report brings its policy along.
    """
    meta = ""
    if is_report:
        rule = _POLICY.format(nonce=nonce, connect="'none'")
        meta = f'<meta http-equiv="Content-Security-Policy" content="{rule}">'
    parts = {
        "@POLICY@": meta,
        "@NONCE@": nonce,
        "@UPLOT_CSS@": _asset("uPlot.min.css"),
        "@CSS@": _asset("page.css"),
        "@UPLOT@": _asset("uPlot.iife.min.js"),
        "@SCRIPT@": _asset("page.js"),
        "@TOLD@": json_for_page(told),
    }
    text = _asset("page.html")
    for mark, part in parts.items():  # what was told comes last: marks in it stay as they are
        text = text.replace(mark, part)
    return text


@lru_cache
def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")
