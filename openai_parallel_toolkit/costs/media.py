"""How many tokens the images, audio and documents of a prompt are; they are not counted as text.

No more than the first bytes of each are decoded. Pure.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.records import Media
from .image_rules import image_rules, image_size

#: How much of the base64 is decoded. A JPEG may have a preview and a profile before its size.
_HEAD_CHARS, _JPEG_CHARS, _DOCUMENT_CHARS = 64, 400_000, 100_000
_JPEG = b"\xff\xd8"
#: An image of unknown size is taken for one of this, where the most is not asked for.
_LIKELY_SIZE = (1024, 1024)
#: Audio's tokens a second. Source: https://platform.openai.com/docs/guides/realtime-costs, "1 token
#: per 100 ms", and https://ai.google.dev/gemini-api/docs/audio, "32 tokens" (read 2026-11).
_OPENAI_AUDIO, _OTHER_AUDIO = 10, 32
#: Bytes a second of audio by format, usual and least: MPEG-2's lowest rate is 8 kbit/s (ISO
#: 13818-3), that of speech in a WAV 8,000 samples of a byte, Opus' 6 kbit/s (RFC 6716).
_BYTES_A_SECOND = {"wav": (32_000, 8_000), "mp3": (16_000, 1_000)}
_OTHER_BYTES_A_SECOND = (4_000, 750)
#: Text of a page. Source: https://platform.claude.com/docs/en/build-with-claude/pdf-support, "1,500
#: to 3,000 tokens" (read 2026-11).
_PAGE_TOKENS = 1_500
#: Of a page in a document that does not tell how many it has.
_PAGE_BYTES = 50_000
#: Of video with its sound. Source: https://ai.google.dev/gemini-api/docs/video-understanding,
#: "about 300 tokens a second" (read 2026-11).
_VIDEO_TOKENS, _VIDEO_BYTES_A_SECOND = 300, 125_000
_BYTES_PER_TOKEN = 4
#: Forms of text to which the provider adds what it finds in them.
_SHEETS = ("text/csv", "text/tab-separated-values")

#: Where a part of a prompt has its content, or the address of it.
_CONTENT = ("url", "image_url", "audio_url", "video_url", "data", "file_data", "file_url", "result")
#: Fields whose text is base64 without an address's beginning.
_PLAIN = ("data", "file_data", "result")
_DATA_URL = re.compile(r"data:([^;,]*)[^,]*,", re.IGNORECASE)
_PAGES = re.compile(rb"/Count\s+(\d{1,5})\b|/Linearized\b[^>]{0,300}?/N\s+(\d{1,5})\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One image, recording or document."""

    #: Base64; "": it is given by its address or its id.
    data: str
    #: Such as "image/png" or "mp3"; "" when it is not said.
    form: str
    #: How closely an image is to be looked at.
    detail: str

    @property
    def size_bytes(self) -> int:
        return len(self.data) * 3 // 4

    def head(self, most_chars: int) -> bytes:
        """Return what the beginning of the base64 stands for; b"": it cannot be read."""
        return _decoded(self.data[:most_chars])

    def tail(self, most_chars: int) -> bytes:
        """Return what its end stands for."""
        end = len(self.data) // 4 * 4
        return _decoded(self.data[max(0, end - most_chars) : end])


def _decoded(data: str) -> bytes:
    data = "".join(data.split())
    try:
        return binascii.a2b_base64(data[: len(data) // 4 * 4])
    except ValueError:
        return b""


def media_of(body: Mapping[str, Any], model: str) -> Media | None:
    """Return what a request's prompt holds besides text; None: nothing."""
    parts: list[tuple[Callable[[_Part, str], Media], _Part]] = []
    for name in ("messages", "input"):
        _collect(body.get(name), parts)
    found = [Media(size_bytes=len(part.data)) + count(part, model) for count, part in parts]
    return sum(found[1:], found[0]) if found else None


def _collect(value: Any, parts: list[tuple[Callable[[_Part, str], Media], _Part]]) -> None:
    """Add what a value holds besides text to `parts`."""
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            for one in value:
                _collect(one, parts)
    elif isinstance(value, dict):
        count = _KINDS.get(value["type"]) if isinstance(value.get("type"), str) else None
        if count is not None:
            parts.append((count, _part(value)))
        else:
            for one in value.values():
                if isinstance(one, (list, dict)):
                    _collect(one, parts)


def _part(raw: Mapping[str, Any]) -> _Part:
    fields = dict(raw)
    for inner in raw.values():
        if isinstance(inner, dict):
            fields.update(inner)
    named = [(name, fields[name]) for name in _CONTENT if isinstance(fields.get(name), str)]
    name, content = named[0] if named else ("", "")
    form = next((str(fields[n]) for n in ("format", "media_type") if fields.get(n)), "")
    head = _DATA_URL.match(content[:200])
    if head is not None:
        form, content = head[1] or form, content[head.end() :]
    elif name not in _PLAIN:
        content = ""
    return _Part(data=content, form=form.lower(), detail=str(fields.get("detail") or "auto"))


def _image(part: _Part, model: str) -> Media:
    likely, most = image_rules(model)
    head = part.head(_HEAD_CHARS)
    if head.startswith(_JPEG):
        head = part.head(_JPEG_CHARS)
    size = image_size(head)
    return Media(
        likely_tokens=likely.tokens(size or _LIKELY_SIZE, part.detail),
        most_tokens=max(rule.tokens(size, part.detail) for rule in (likely, most)),
    )


def _audio(part: _Part, model: str) -> Media:
    is_openai = model.removeprefix("ft:").rpartition("/")[2].startswith("gpt-")
    a_second = _OPENAI_AUDIO if is_openai else _OTHER_AUDIO
    form = part.form.rpartition("/")[2].removeprefix("x-").replace("mpeg", "mp3")
    usual, least = _BYTES_A_SECOND.get(form, _OTHER_BYTES_A_SECOND)
    head = part.head(_HEAD_CHARS)
    if head[:4] == b"RIFF" and head[12:16] == b"fmt " and len(head) >= 32:
        (rate,) = struct.unpack_from("<I", head, 28)
        usual = least = rate or least
    most = part.size_bytes * a_second // least + 1
    return Media(
        likely_tokens=part.size_bytes * a_second // usual + 1,
        most_tokens=most,
        most_audio_tokens=most,
        # Of a recording that lies elsewhere nobody knows how long it is.
        documents=int(not part.data),
    )


def _document(part: _Part, model: str) -> Media:
    if part.data and part.form and part.form != "application/pdf":  # its text alone is taken
        likely = part.size_bytes // _BYTES_PER_TOKEN + 1
        if part.form.startswith("text/") and part.form not in _SHEETS:
            return Media(likely_tokens=likely, most_tokens=len(part.data))
        return Media(likely_tokens=likely, documents=1)
    page = _PAGE_TOKENS + image_rules(model)[0].tokens(_LIKELY_SIZE, part.detail)
    return Media(likely_tokens=_page_count(part) * page, documents=1)


def _page_count(part: _Part) -> int:
    ends = part.head(_DOCUMENT_CHARS) + part.tail(_DOCUMENT_CHARS)
    told = [int(number) for both in _PAGES.findall(ends) for number in both if number]
    return max(told, default=part.size_bytes // _PAGE_BYTES) or 1


def _video(part: _Part, model: str) -> Media:
    del model
    seconds = part.size_bytes // _VIDEO_BYTES_A_SECOND + 1
    return Media(likely_tokens=seconds * _VIDEO_TOKENS, documents=1)


#: Source: the references of OpenAI's chat completions and responses, "content"; of vLLM's
#: multimodal inputs; of Anthropic's messages (read 2026-11).
_KINDS: Mapping[str, Callable[[_Part, str], Media]] = {
    "image_url": _image,
    "input_image": _image,
    "image": _image,
    "computer_screenshot": _image,
    "image_generation_call": _image,
    "input_audio": _audio,
    "audio_url": _audio,
    "file": _document,
    "input_file": _document,
    "document": _document,
    "video_url": _video,
    "input_video": _video,
}
