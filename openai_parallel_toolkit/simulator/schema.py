"""Make up JSON that fits a JSON schema, as far as structured outputs use the language."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_DEEPEST = 12
_LONGEST = 10_000
_FORMATS = {
    "date": "2024-05-17",
    "date-time": "2024-05-17T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}


def fit_schema(schema: Mapping[str, Any], words: Sequence[str], dice: bytes) -> Any:
    """Return a value that fits `schema`, its texts made of `words`; equal arguments, equal value.

    Knows types, enum, const, anyOf, oneOf, allOf, $ref into the schema, required and optional
    properties, items, and the smallest and largest values and lengths. Recursion ends at the
    first branch or array that may end it.
    """
    return _Maker(schema, words or ("word",), dice).value(schema, 0)


@dataclass(slots=True)
class _Maker:
    root: Mapping[str, Any]
    words: Sequence[str]
    dice: bytes
    drawn: int = 0

    def value(self, schema: object, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > _DEEPEST:
            return None
        if "$ref" in schema:
            return self.value(self._target(schema["$ref"]), depth + 1)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][self._draw(len(schema["enum"]))]
        for union in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(union), list) and schema[union]:
                return self._branch(schema[union], depth)
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = kind[0] if kind else "null"
        if kind == "object":
            properties = schema.get("properties")
            named = properties.items() if isinstance(properties, dict) else ()
            return {name: self.value(inner, depth + 1) for name, inner in named}
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string":
            return self._text(schema)
        if kind in ("integer", "number"):
            return self._number(schema, is_whole=kind == "integer")
        return self._draw(2) == 0 if kind == "boolean" else None

    def _branch(self, branches: list[Any], depth: int) -> Any:
        if depth > _DEEPEST // 2:
            branches = sorted(branches, key=lambda branch: branch != {"type": "null"})
            return self.value(branches[0], depth + 1)
        return self.value(branches[self._draw(len(branches))], depth + 1)

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        least, most = _lengths(schema, "minItems", "maxItems")
        wanted = least if depth > _DEEPEST // 2 else max(least, min(most, 1 + self._draw(3)))
        return [self.value(schema.get("items"), depth + 1) for _ in range(wanted)]

    def _text(self, schema: dict[str, Any]) -> str:
        form = str(schema.get("format"))
        if form in _FORMATS:
            return _FORMATS[form]
        start = self._draw(len(self.words))
        text = " ".join(self.words[start : start + 1 + self._draw(6)])
        least, most = _lengths(schema, "minLength", "maxLength")
        return text.ljust(least, ".")[:most]

    def _number(self, schema: dict[str, Any], *, is_whole: bool) -> float | int:
        low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        least = _number_of(schema, "minimum", _number_of(schema, "exclusiveMinimum", 0))
        most = _number_of(
            schema, "maximum", _number_of(schema, "exclusiveMaximum", max(least, 0) + 100)
        )
        if is_whole:
            first = math.floor(least) + 1 if low == least else math.ceil(least)
            last = math.ceil(most) - 1 if high == most else math.floor(most)
            return first + self._draw(max(1, last - first + 1))
        # Strictly between the two, so that it does not matter whether they are exclusive.
        return least + (most - least) * (1 + self._draw(98)) / 100

    def _target(self, ref: object) -> object:
        target: Any = self.root
        for name in str(ref).removeprefix("#").strip("/").split("/"):
            if name:
                target = target.get(name) if isinstance(target, dict) else None
        return target

    def _draw(self, sides: int) -> int:
        self.drawn += 1
        mixed = hashlib.sha256(b"%d " % self.drawn + self.dice).digest()
        return int.from_bytes(mixed[:8], "big") % sides


def _lengths(schema: Mapping[str, Any], least_name: str, most_name: str) -> tuple[int, int]:
    least = max(0, min(_LONGEST, int(_number_of(schema, least_name, 0))))
    return least, max(least, int(_number_of(schema, most_name, _LONGEST)))


def _number_of(schema: Mapping[str, Any], name: str, default: float) -> float:
    value = schema.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return default
    # NaN compares False.
    return value if abs(value) < 1e15 else default
