"""Search for what breaks a promise, for so many seconds, and show the smallest that does."""

from __future__ import annotations

import json
import secrets
import time

from hostile import HOSTILE, SPELLINGS
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from openai_parallel_toolkit import ToolkitError

KEY = "sk-proj-cAn/ry+=&0123456789abcdef"
SHOWN = tuple(spell(KEY) for spell in SPELLINGS.values())
#: Words that servers use, words that hurt, and the key.
WORDS = st.one_of(
    st.sampled_from(
        (
            *SHOWN,
            HOSTILE,
            "",
            "stop",
            "null",
            "NaN",
            "429",
            "-1",
            "1e999",
            "9" * 400,
            "\ud800",
            "\0",
        )
    ),
    st.text(max_size=20),
)
_FIELDS = """
    error code type message param status choices content finish_reason usage model id object data
    errors request_counts metadata output response body custom_id status_code request_id raw index
    prompt_tokens completion_tokens total_tokens delta tool_calls detail input_file_id line url
    output_file_id error_file_id created_at completed_at api_keys key name api_base prices proxy
    input prompt messages method service_tier
"""
NAMES = st.one_of(
    st.sampled_from(_FIELDS.split()),
    WORDS,
)
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from((0, -1, 10**400, True, False, None))
)
JSON = st.recursive(
    st.one_of(WORDS, NUMBERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=15,
)


def dumped(value):
    """JSON as bytes; numbers that are too long for JSON stay as they are."""
    return json.dumps(value).encode()


TEXTS = st.one_of(
    JSON.map(dumped),
    st.binary(max_size=60),
    st.lists(JSON.map(dumped), max_size=4).map(
        lambda lines: b"\n".join(b"data: " + x for x in lines)
    ),
    st.builds(lambda body, at: body[:at], JSON.map(dumped), st.integers(0, 200)),
    WORDS.map(lambda word: word.encode(errors="surrogatepass")),
)


def search(seconds, check, **strategies):
    """Try `check` with what the strategies draw until the time is over."""
    until_s = time.monotonic() + seconds
    quiet = settings(
        max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    while time.monotonic() < until_s:
        seed(secrets.randbits(64))(quiet(given(**strategies)(check)))()


def error_of(act):
    """Return the error of ours that an act raises; None: it raises none."""
    try:
        act()
    except ToolkitError as exc:
        return exc
    return None


def shows_key(*told):
    """Whether anything that is told shows the key."""
    text = " ".join(map(str, told))
    return any(form in text for form in SHOWN)
