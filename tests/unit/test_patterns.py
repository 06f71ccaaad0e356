"""No pattern of the package takes longer than its text is long, whatever the text is.

What is applied to short texts alone is listed, with how long they can be.
"""

import ast
import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import cpu_s

import openai_parallel_toolkit

ROOT = Path(openai_parallel_toolkit.__file__).parent
#: How long a text is tried.
CHARS = 5_000
LIMIT_S = 0.01
#: How long texts are that are cut before they are looked at, or are names of files.
SHORT = {
    "calls.provider_codes _PHRASES": 512,
    "calls.rate_hints _PART": 100,
    "costs.tokens.splitting _LAST_CUT": 64,
    "files.stores.local _PART": 255,
}
#: What is looked for at the beginning alone.
AT_START = {
    "core.redaction _PASSWORD_OF_URL",
    "costs.media _DATA_URL",
    "costs.tokens.splitting _FIRST_WORD",
    "files.stores.urls _URL",
    "simulator.batches.lines _MARK",
    "transport.proxies _WITH_PORT",
}


def modules():
    for found in pkgutil.walk_packages([str(ROOT)], f"{openai_parallel_toolkit.__name__}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def compiled(value) -> Iterator[re.Pattern]:
    """The patterns that a global is, or holds."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(compiled, value.values()))
    elif isinstance(value, list | tuple):
        yield from itertools.chain.from_iterable(map(compiled, value))


def inline(path: Path) -> Iterator[re.Pattern]:
    """The patterns that calls such as re.sub have in place."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) and node.args else ""
        first = node.args[0] if re.match(r"re\.(?!compile)", called) else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str | bytes):
            yield re.compile(first.value)


def apply(pattern: re.Pattern, text):
    pattern.sub(type(text)(), text)


def apply_at_start(pattern: re.Pattern, text):
    return pattern.match(text), pattern.fullmatch(text)


def patterns():
    """Each pattern, how it is applied and how long its texts can be."""
    found = {}
    for module in modules():
        name = module.__name__.partition(".")[2]
        for constant in vars(module):
            place = f"{name} {constant}"
            how = apply_at_start if place in AT_START else apply
            for pattern in compiled(vars(module)[constant]):
                if place in SHORT or place in AT_START or pattern not in found:
                    found[pattern] = (place, how, SHORT.get(place, CHARS))
        for pattern in inline(Path(module.__file__)):
            found.setdefault(pattern, (name, apply, CHARS))
    return [
        pytest.param(pattern, how, chars, id=f"{place} {pattern.pattern!r:.40}")
        for pattern, (place, how, chars) in found.items()
    ]


def texts(pattern: re.Pattern, chars: int):
    """Texts that look like what a pattern looks for, again and again, and never end so."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode()
    words = re.findall(r"[A-Za-z]{2,}(?![a-z]*\})|[^\w\s]", source.replace("\\s", " "))
    words = sorted(dict.fromkeys(words), key=len, reverse=True)[:6]
    for bit in [*words, "".join(words), "a", "0", " ", "\\"]:
        yield bit * (chars // len(bit))
        for filler in ("a", "0", " ", "/"):
            yield bit + filler * chars
            yield (bit + filler) * (chars // len(bit + filler))
            yield filler * chars + bit


@pytest.mark.parametrize(("pattern", "how", "chars"), patterns())
def test_patterns_take_no_longer_than_texts_are_long(pattern, how, chars):
    for text in texts(pattern, chars):
        given = text.encode() if isinstance(pattern.pattern, bytes) else text
        since_s = time.thread_time()
        how(pattern, given)
        if time.thread_time() - since_s > LIMIT_S:  # once may be chance
            assert cpu_s(lambda given=given: how(pattern, given)) < LIMIT_S, given[:40]


def test_a_pattern_that_takes_longer_is_found():
    with pytest.raises(AssertionError):
        test_patterns_take_no_longer_than_texts_are_long(re.compile("a*b"), apply, CHARS)
