"""No test here sees the proxies or the credentials of whoever runs it."""

from __future__ import annotations

import os

import pytest

_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper() in _NAMES or name.startswith(("OPENAI_", "AZURE_OPENAI_")):
            monkeypatch.delenv(name)
