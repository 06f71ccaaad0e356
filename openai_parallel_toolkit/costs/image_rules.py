"""How many tokens an image is for a model, and how large it is. Pure.

Source: https://developers.openai.com/api/docs/guides/images-vision, "Calculating costs" and "Model
sizing behavior" (read 2026-11), unless a rule says otherwise.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import TypeAlias

#: Width and height, in pixels.
Size: TypeAlias = tuple[int, int]

_TILE_PX = 512
_LONGEST_PX, _SHORTEST_PX = 2048, 768


@dataclass(frozen=True, slots=True)
class TileRule:
    """So many tokens an image, and so many for each tile that covers it when it is made to fit."""

    base: int
    tile: int

    def tokens(self, size: Size | None, detail: str) -> int:
        """Return an image's tokens; a size of None: the most."""
        if detail == "low":
            return self.base
        width, height = size or (_LONGEST_PX, _SHORTEST_PX)
        fit = min(1, _LONGEST_PX / max(width, height))
        fit = min(fit, _SHORTEST_PX / min(width, height))
        tiles = [ceil(max(1, floor(side * fit + 1e-6)) / _TILE_PX) for side in (width, height)]
        return self.base + self.tile * tiles[0] * tiles[1]


@dataclass(frozen=True, slots=True)
class PatchRule:
    """So many tokens for each patch that covers an image when it is made to fit."""

    tokens_each: float
    #: Longest side, in pixels, and most patches, by detail; those of "auto" hold for all others.
    limits: Mapping[str, tuple[int, int]]
    patch_px: int = 32
    least: int = 0

    def tokens(self, size: Size | None, detail: str) -> int:
        """Return an image's tokens; a size of None: the most."""
        longest_px, most_patches = self.limits.get(detail) or self.limits["auto"]
        width, height = size or (longest_px, longest_px)
        fit = min(1, longest_px / max(width, height))
        columns, rows = (ceil(side * fit / self.patch_px) for side in (width, height))
        return max(self.least, ceil(min(columns * rows, most_patches) * self.tokens_each))


ImageRule: TypeAlias = TileRule | PatchRule

_HIGH, _ORIGINAL = (2048, 2_500), (6000, 10_000)
_WHOLE = (65_535, 30_000)
_NEWEST = PatchRule(1.2, {"low": (512, 256), "high": _HIGH, "auto": _WHOLE})
_GPT_5_4 = PatchRule(1.2, {"low": (2048, 6_144), "original": _ORIGINAL, "auto": _HIGH})
_ONE_SIZE = {"auto": (2048, 6_144)}
#: Of Qwen's models; none that is known has finer patches, nor less for the smallest image than
#: Gemini's 258. Source: huggingface.co/Qwen/Qwen2-VL-7B-Instruct, preprocessor_config.json, and
#: https://ai.google.dev/gemini-api/docs/tokens (read 2026-11).
_OTHER = PatchRule(1, {"auto": (65_535, 16_384)}, patch_px=28, least=258)
_DEAREST = TileRule(2833, 5667)
#: By how a model's name begins; the longest beginning that fits counts.
_RULES: Mapping[str, ImageRule] = {
    "gpt-4-turbo": TileRule(85, 170),
    "gpt-4-vision": TileRule(85, 170),
    "gpt-4o": TileRule(85, 170),
    "chatgpt-4o": TileRule(85, 170),
    "gpt-4.5": TileRule(85, 170),
    "gpt-4.1": TileRule(85, 170),
    "gpt-4o-mini": _DEAREST,
    "gpt-5": TileRule(70, 140),
    "o1": TileRule(75, 150),
    "o3": TileRule(75, 150),
    "computer-use": TileRule(65, 129),
    "gpt-4.1-mini": PatchRule(1.62, _ONE_SIZE),
    "gpt-4.1-nano": PatchRule(2.46, _ONE_SIZE),
    "o4-mini": PatchRule(1.72, _ONE_SIZE),
    "gpt-5-mini": PatchRule(1.2, _ONE_SIZE),
    "gpt-5-nano": PatchRule(1.5, _ONE_SIZE),
    "gpt-5.2": PatchRule(1.2, _ONE_SIZE),
    "gpt-5.3": PatchRule(1.2, _ONE_SIZE),
    "gpt-5.4": _GPT_5_4,
    "gpt-5.5": PatchRule(1.2, {"low": (512, 256), "high": _HIGH, "auto": _ORIGINAL}),
    "gpt-5.6": _NEWEST,
    "gpt-6": _NEWEST,
    # Source: https://platform.claude.com/docs/en/build-with-claude/vision (read 2026-11).
    "claude": PatchRule(1, {"auto": (2576, 4_784)}, patch_px=28),
    "gemini": _OTHER,
    "qwen": _OTHER,
}


def image_rules(model: str) -> tuple[ImageRule, ImageRule]:
    """Return the rules that give about, and at most, how many tokens an image is for a model."""
    name = model.lower().removeprefix("ft:").rpartition("/")[2].replace("gpt-35-", "gpt-3.5-")
    fitting = [start for start in _RULES if name.startswith(start)]
    if not fitting:
        return _OTHER, _DEAREST
    rule = _RULES[max(fitting, key=len)]
    return rule, rule


def image_size(head: bytes) -> Size | None:
    """Return the size that the first bytes of a PNG, GIF, WebP or JPEG tell; None: they do not."""
    try:
        size = _size_in(head)
    except struct.error:
        return None
    return size if size and min(size) > 0 else None


def _size_in(head: bytes) -> Size | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", head, 16)
        return width, height
    if head.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack_from("<HH", head, 6)
        return width, height
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp_size(head)
    return _jpeg_size(head) if head.startswith(b"\xff\xd8") else None


def _webp_size(head: bytes) -> Size | None:
    """Source: https://developers.google.com/speed/webp/docs/riff_container (read 2026-11)."""
    form = head[12:16]
    if form == b"VP8X":
        low = struct.unpack_from("<HBHB", head, 24)
        return (low[0] | low[1] << 16) + 1, (low[2] | low[3] << 16) + 1
    if form == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if form == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg_size(head: bytes) -> Size | None:
    """Source: ITU-T T.81, annex B: a frame's header is one of SOF0 to SOF15."""
    at = 2
    while True:
        mark, kind, length = struct.unpack_from(">BBH", head, at)
        if mark != 0xFF:
            return None
        if kind == 0xFF:  # filling
            at += 1
        elif 0xC0 <= kind <= 0xCF and kind not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        else:
            at += 2 + length
