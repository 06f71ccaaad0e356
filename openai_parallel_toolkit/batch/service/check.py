"""Find what is wrong with a ready-made batch file before it is sent.

As strict as the providers: UTF-8 and JSON by the letter. Streams over the file; what it remembers
is a number per line, of at most `max_lines` lines.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from ...costs.media import media_of
from ...costs.tokens import estimate_tokens

#: What lines may ask for. Source: https://platform.openai.com/docs/api-reference/batch (2026-11).
OPENAI_URLS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/edits",
        "/v1/images/generations",
        "/v1/moderations",
        "/v1/responses",
        "/v1/videos",
    }
)
#: Azure takes both forms, with and without the version.
AZURE_URLS = frozenset({*OPENAI_URLS, *(url.removeprefix("/v1") for url in OPENAI_URLS)})
#: Source: https://platform.openai.com/docs/guides/batch (2026-11); Azure's are the same.
MAX_LINES = 50_000
MAX_BYTES = 200 * 1024 * 1024
#: Texts of all requests for embeddings in a batch. Source: the same page.
MAX_EMBEDDINGS = 50_000
#: Source: https://platform.openai.com/docs/api-reference/embeddings/create (2026-11).
MAX_INPUTS = 2_048

#: Counts the tokens of a text for a model.
Counter = Callable[[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with a batch file."""

    #: "malformed_line", "missing_field", "wrong_encoding", "wrong_method", "wrong_url",
    #: "mixed_urls", "mixed_models", "duplicate_custom_id", "too_many_inputs", "too_many_lines",
    #: "too_large" or "empty_file".
    code: str
    #: For people; says what to do.
    message: str
    #: From 1; None: it is about the whole file.
    line: int | None = None

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(slots=True, kw_only=True)
class FileCheck:
    """What a batch file holds, and what is wrong with it."""

    size_bytes: int
    #: Whether it begins with a byte order mark, which no provider takes: send it without.
    has_mark: bool
    #: Tokens of the texts that its lines send, and about those of their images, audio and
    #: documents; None: not counted.
    prompt_tokens: int | None
    #: The same, or about, where they are not counted.
    likely_tokens: int = 0
    lines: int = 0
    #: URL of its lines; "" when none is usable.
    url: str = ""
    #: Model of its lines; "" when none is usable.
    model: str = ""
    #: The first ones.
    findings: tuple[Finding, ...] = ()
    #: How many there are in all.
    findings_count: int = 0

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return self.findings_count == 0


def check_file(
    file: BinaryIO,
    *,
    urls: frozenset[str] = OPENAI_URLS,
    count: Counter | None = None,
    most_findings: int = 20,
    max_lines: int = MAX_LINES,
    max_bytes: int = MAX_BYTES,
) -> FileCheck:
    """Read a batch file and return what it holds and what is wrong with it, line by line.

    Args:
        file: at its beginning.
        urls: what its lines may ask for.
        count: counts the tokens of a text for a model; None: they are not counted.
        most_findings: how many are kept; all are counted.
    """
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(4)
    has_mark = head.startswith(codecs.BOM_UTF8)
    file.seek(len(codecs.BOM_UTF8) if has_mark else 0)
    tokens = None if count is None else 0
    found = FileCheck(size_bytes=size_bytes, has_mark=has_mark, prompt_tokens=tokens)
    lines = _LineChecks(found, urls, count, most_findings)
    if size_bytes > max_bytes:
        lines.find("too_large", f"it has {size_bytes:,} bytes, more than {max_bytes:,}; split it")
    elif wide := _wide_encoding(head):
        lines.find("wrong_encoding", f"it is {wide}; save it as UTF-8")
    else:
        lines.read(file, max_lines)
    return found


def _wide_encoding(head: bytes) -> str:
    """Return the name of an encoding of more than a byte a letter; "": it is none."""
    marks = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32"}
    marks |= {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
    marked = next((name for mark, name in marks.items() if head.startswith(mark)), "")
    if marked or b"\0" not in head:
        return marked
    return "UTF-32" if head.count(b"\0") > 2 else "UTF-16"


class _LineChecks:
    """Looks at one line after the other, and puts down what they hold."""

    def __init__(
        self, found: FileCheck, urls: frozenset[str], count: Counter | None, most_findings: int
    ) -> None:
        self.found = found
        self.embeddings = 0
        self._urls = urls
        self._count = count
        self._most_findings = most_findings
        #: First line of each custom_id, by its hash: small, whatever the ids are.
        self._ids: dict[int, int] = {}

    def read(self, file: BinaryIO, max_lines: int) -> None:
        blank_at: int | None = None
        for number, line in enumerate(file, start=1):
            if not line.strip():
                blank_at = blank_at or number
                continue
            if blank_at is not None:  # blank lines at the end are harmless
                self.find("malformed_line", "it is blank; take it out", blank_at)
                blank_at = None
            if self.found.lines == max_lines:
                self.find("too_many_lines", f"it has more than {max_lines:,} lines; split it")
                return
            self.look(number, line)
        if self.found.lines == 0:
            self.find("empty_file", "it is empty")
        if self.embeddings > MAX_EMBEDDINGS:
            told = f"its lines ask for {self.embeddings:,} embeddings, more than {MAX_EMBEDDINGS:,}"
            self.find("too_many_inputs", f"{told}; split it")

    def find(self, code: str, message: str, line: int | None = None) -> None:
        self.found.findings_count += 1
        if self.found.findings_count <= self._most_findings:
            self.found.findings += (Finding(code=code, message=message, line=line),)

    def look(self, number: int, line: bytes) -> None:
        self.found.lines += 1
        try:
            raw = read_strictly(line)
        except UnicodeDecodeError as exc:
            told = f"byte {exc.start + 1} is not UTF-8; save the file as UTF-8"
            self.find("malformed_line", told, number)
            return
        except (ValueError, RecursionError) as exc:
            self.find("malformed_line", f"it is not JSON as the standard has it: {exc}", number)
            return
        if not isinstance(raw, dict):
            self.find("malformed_line", "it is not a JSON object", number)
            return
        self._look_at_id(number, raw)
        self._look_at_method(number, raw)
        self._look_at_url(number, raw)
        self._look_at_body(number, raw, len(line))

    def _look_at_id(self, number: int, raw: Mapping[str, Any]) -> None:
        custom_id = raw.get("custom_id")
        if not isinstance(custom_id, str) or not custom_id:
            self.find("missing_field", "it has no custom_id (a text)", number)
            return
        seen = hashlib.blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        first = self._ids.setdefault(int.from_bytes(seen, "big"), number)
        if first != number:
            self.find("duplicate_custom_id", f"line {first} has the same custom_id", number)

    def _look_at_method(self, number: int, raw: Mapping[str, Any]) -> None:
        if "method" not in raw:
            self.find("missing_field", 'it has no method; give "POST"', number)
        elif raw["method"] != "POST":
            self.find("wrong_method", 'its method is not "POST"', number)

    def _look_at_url(self, number: int, raw: Mapping[str, Any]) -> None:
        url = raw.get("url")
        if not isinstance(url, str) or not url:
            self.find("missing_field", "it has no url (a text)", number)
        elif url not in self._urls:
            known = " or ".join(sorted(self._urls))
            self.find("wrong_url", f"its url has to be {known}", number)
        elif self.found.url and url != self.found.url:
            self.find(
                "mixed_urls", f"its url is not {self.found.url!r} as in the lines before", number
            )
        else:
            self.found.url = url

    def _look_at_body(self, number: int, raw: Mapping[str, Any], size_bytes: int) -> None:
        body = raw.get("body")
        if not isinstance(body, dict):
            self.find("missing_field", "it has no body (an object)", number)
            return
        model = body.get("model")
        if not isinstance(model, str) or not model:
            self.find("missing_field", "its body has no model (a text)", number)
        elif self.found.model and model != self.found.model:
            told = f"its model is {model!r} and not {self.found.model!r} as in the lines before"
            self.find("mixed_models", f"{told}; give each model a file of its own", number)
        else:
            self.found.model = model
        if str(raw.get("url")).endswith("/embeddings"):
            inputs = inputs_of(body)
            self.embeddings += inputs
            if inputs > MAX_INPUTS:
                told = f"it asks for {inputs:,} embeddings, more than {MAX_INPUTS:,}; split it"
                self.find("too_many_inputs", told, number)
        media = media_of(body, self.found.model)
        if self._count is None:
            self.found.likely_tokens += estimate_tokens(size_bytes, media)
        else:
            tokens = sum(self._count(text, self.found.model) for text in _texts(body))
            self.found.likely_tokens += tokens + (0 if media is None else media.likely_tokens)
            self.found.prompt_tokens = self.found.likely_tokens


def read_strictly(line: bytes) -> Any:
    """Return what a line of JSON says, refused where providers refuse it.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
        ValueError: it is no JSON, holds NaN, an infinite number, a byte order mark or half a
            character (a surrogate without the other half).
        RecursionError: it is too deep.
    """
    text = line.decode("utf-8")
    if text.startswith("\ufeff"):
        raise ValueError("it begins with a byte order mark")
    raw = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    if "\\ud" in text.lower():
        try:
            json.dumps(raw, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as exc:
            raise ValueError(
                f"it holds half a character (U+{ord(exc.object[exc.start]):04X})"
            ) from None
    return raw


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_number(digits)


def inputs_of(body: Mapping[str, Any]) -> int:
    """Return how many embeddings a request asks for."""
    given = body.get("input")
    if not isinstance(given, list) or all(isinstance(part, int) for part in given):
        return 1
    return len(given)


def _texts(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts that a body sends: of messages and their parts, prompts and inputs."""
    waiting = [body.get(name) for name in ("messages", "input", "prompt", "instructions")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend((value.get("content"), value.get("text")))
