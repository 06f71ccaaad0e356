"""What is known to be secret, or looks like it, is not to be read in anything that was cleaned."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.core.records import RawReply
from openai_parallel_toolkit.core.redaction import Redactor, Secret

KEY = "gsk_A/b-C+d=e&f.G~h:i<j>k'l\"m%n"
REDACTOR = Redactor([Secret("sk-other-key-of-somebody", "key-1"), Secret(KEY, "key-2")])


def every_character(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(ord(char)) for char in text)


def lower_hex(text: str) -> str:
    """URL-quoted with small hex digits, as some libraries write it."""
    quoted = quote(text, safe="")
    return "".join(
        part if not n else "%" + part[:2].lower() + part[2:]
        for n, part in enumerate(quoted.split("%"))
    )


def inside_base64(encode: Callable[[bytes], bytes], before: str) -> Callable[[str], str]:
    return lambda text: encode(f"{before}{text} and more".encode()).decode()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "quote": quote,
    "quote, all": lambda text: quote(text, safe=""),
    "quote, small hex": lower_hex,
    "quote_plus": quote_plus,
    "quote of every byte": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "quote twice": lambda text: quote(quote(text, safe=""), safe=""),
    "json": lambda text: json.dumps(text)[1:-1],
    "json, slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "json, small hex": every_character("\\u{:04x}"),
    "json, capital hex": every_character("\\u{:04X}"),
    "json in json": lambda text: json.dumps(json.dumps(text).replace("-", "\\u002d"))[1:-1],
    "repr": lambda text: repr(text)[1:-1],
    "python bytes": every_character("\\x{:02x}"),
    "html": html.escape,
    "html, decimal": every_character("&#{};"),
    "html, small hex": every_character("&#x{:x};"),
    "html, capital hex": every_character("&#X{:X};"),
    "quote in html in json": lambda text: json.dumps(html.escape(quote(text)))[1:-1],
    **{
        f"{name} at {len(before)}": inside_base64(encode, before)
        for name, encode in [
            ("base64", base64.b64encode),
            ("urlsafe base64", base64.urlsafe_b64encode),
            ("quoted base64", lambda data: quote(base64.b64encode(data), safe="").encode()),
            ("json base64", lambda data: base64.b64encode(data).replace(b"/", b"\\/")),
        ]
        for before in ("", "u", "u:", "user:")
    },
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_a_key_is_masked_in_every_spelling(spell: Callable[[str], str]) -> None:
    shown = REDACTOR.clean(f"before {spell(KEY)} after")
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "[key-2]" in shown
    assert len(shown) <= len("before [key-2] after") + len(spell("user:")) + len(spell(" and more"))


ordinary = st.text(st.characters(codec="utf-8"), max_size=30)


@given(
    key=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=40),
    spell=st.sampled_from([SPELLINGS[name] for name in SPELLINGS if " in " not in name]),
    before=ordinary,
    after=ordinary,
)
def test_no_key_can_be_read_whatever_it_is_and_stands_in(
    key: str, spell: Callable[[str], str], before: str, after: str
) -> None:
    shown = spell(key)
    # Ends of a text that would belong to the spelling, as a % before hex digits does.
    cleaned = Redactor([Secret(key, "\N{KEY}")]).clean(f"{before} {shown} {after}")
    assert shown not in cleaned or shown in before + after
    assert key not in cleaned or key in before + after or "\N{KEY}" in key


@given(ordinary)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert Redactor([Secret("0123456789-abcdef", "key-1")]).clean(text + "%2d&#45;\\u002d") == (
        text + "%2d&#45;\\u002d"
    )


def test_keys_that_overlap_are_masked_as_one() -> None:
    redactor = Redactor([Secret("abcdefgh", "short"), Secret("abcdefgh-ijkl", "long")])
    assert redactor.clean("abcdefgh-ijkl abcdefgh") == "[long] [short]"


def test_the_password_of_a_proxy_is_masked_without_its_url() -> None:
    redactor = Redactor([Secret("http://me:p%40ss-word@proxy.example:3128", "proxy")])
    basic = base64.b64encode(b"me:p@ss-word").decode()
    for text in ("p@ss-word", "p%40ss-word", f"Basic {basic}"):
        assert "[proxy]" in redactor.clean(f"the proxy was given {text}.")
    assert "ss-word" not in redactor.clean("http://me:p%40ss-word@proxy.example:3128/x")


def test_a_long_text_is_cleaned_of_many_keys_in_no_time() -> None:
    keys = [Secret(f"sk-proj-{number:03}-{'x' * 80}", f"key-{number}") for number in range(50)]
    redactor = Redactor(keys)
    text = json.dumps({"text": 'the "quick" brown fox\n' * 4_000})
    dotted = "a." * 50_000
    since_s = time.perf_counter()
    assert redactor.clean(text) == text
    assert redactor.clean(dotted) == dotted
    assert time.perf_counter() - since_s < 5


def test_a_key_that_is_known_later_and_is_shorter_is_masked_as_well() -> None:
    redactor = Redactor([Secret("a-key-of-thirty-characters-abc", "long")])
    redactor.add(Secret("tiny7", "short"))
    assert redactor.clean("tiny7") == "[short]"


@pytest.mark.parametrize(
    "text",
    [
        "SK-abcdef123",
        "\u017fk-abcdef123",  # letters that a pattern without case takes for s and k
        "s\u212a-abcdef123",
        "BeArEr abcdef123",
        "X-API-KEY: abcdef123",
        "ap\u0131_\u212aey=abcdef123",
        "HTTPS://me:abcdef123@host",
    ],
)
def test_what_looks_like_a_credential_is_masked_however_it_is_written(text: str) -> None:
    assert "abcdef123" not in Redactor().clean(text)


def test_headers_that_are_kept_are_masked_each_for_itself() -> None:
    told = {"content-type": "bearer", "x-request-id": "req-1", "openai-version": "sk-abcdef123"}
    kept = RawReply(status=200, headers=told, body=b"").as_kept(Redactor().clean).headers
    assert kept == {**told, "openai-version": "[secret]"}
