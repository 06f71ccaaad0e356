"""Say a JSON schema in the dialect that structured outputs take in strict mode. Pure.

What can be left out is held against the user's own type when the answer is read.
Source: https://platform.openai.com/docs/guides/structured-outputs, "Supported schemas", and
https://github.com/openai/openai-node/blob/master/src/lib/transform.ts (both read 2026-11).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import UsageError

_KEPT = frozenset(
    {
        "$defs", "$ref", "anyOf", "const", "description", "enum", "exclusiveMaximum",
        "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maximum", "minItems",
        "minLength", "minimum", "multipleOf", "pattern", "properties", "title", "type",
    }
)  # fmt: skip
_FORMATS = {
    name: name
    for name in ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time")
} | {f"uuid{version}": "uuid" for version in ("", *range(1, 9))}
#: Look-around, flags and names of groups, references back.
_NOT_IN_PATTERNS = re.compile(r"\(\?[^:]|\\[1-9k]")
#: What is not taken and helps the model: it is told in words.
_TOLD = ("examples", "format", "pattern")
_TYPES = {
    bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null",
}  # fmt: skip

_NOT_A_CLASS = "write a class of it with a field for each"
_MISSING = {
    "a dict": "write a class with these fields, or a list of objects with a key and a value",
    "a value of any type": "name its type",
    "a list of anything": "say of what it is a list",
    "a tuple of different types": _NOT_A_CLASS,
    "allOf": _NOT_A_CLASS,
}


def strict_schema(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the schema of a type called `name` as strict mode wants it.

    Objects are closed and all their fields required: the model gives also those with a default.

    Raises:
        UsageError: strict mode has nothing for a part of it; says which, and what to write.
    """
    strict = _Dialect(schema).said(schema, name, frozenset())
    if strict.get("type") != "object":
        raise UsageError(
            f"response_format={name} must describe an object; write a class with it as a field"
        )
    return strict


@dataclass(frozen=True, slots=True)
class _Dialect:
    root: Mapping[str, Any]

    def said(self, part: Any, where: str, inside: frozenset[str]) -> dict[str, Any]:
        """Return a part in the dialect; `inside` are the references that it was reached by."""
        given = _normal(part, where)
        said = {name: value for name, value in given.items() if name in _KEPT}
        if "$ref" in said and len(said) > 1:  # a reference must stand alone
            ref = said.pop("$ref")
            if ref in inside:  # it comes round to itself
                return {"$ref": ref}
            return self.said({**self._target(ref), **said}, where, inside | {ref})
        if "$defs" in said:
            parts = said["$defs"].items()
            said["$defs"] = {key: self.said(value, key, frozenset()) for key, value in parts}
        if "anyOf" in said:
            said["anyOf"] = [self.said(branch, where, inside) for branch in said["anyOf"]]
        if "items" in said:
            said["items"] = self.said(said["items"], where, inside)
        if _is_object(given, where):
            parts = said.get("properties", {}).items()
            fields = {key: self.said(value, f"{where}.{key}", inside) for key, value in parts}
            said.update(properties=fields, required=list(fields), additionalProperties=False)
        return said

    def _target(self, ref: str) -> Mapping[str, Any]:
        target: Any = self.root
        for name in ref.removeprefix("#/").split("/"):
            target = target[name.replace("~1", "/").replace("~0", "~")]
        return target  # type: ignore[no-any-return]


def _normal(part: Any, where: str) -> dict[str, Any]:
    """Return a part of which all that strict mode knows by another name has strict mode's."""
    given = dict(part) if isinstance(part, Mapping) else {}
    if len(given.get("allOf", ())) == 1:
        given.update(given.pop("allOf")[0])
    if "allOf" in given:
        raise _missing("allOf", where)
    if "oneOf" in given:
        given["anyOf"] = given.pop("oneOf")
    if given.get("prefixItems"):
        given["items"] = _items_of_tuple(given["prefixItems"], where)
    elif given.get("type") == "array" and not given.get("items"):
        raise _missing("a list of anything", where)
    values = given.get("enum", [given["const"]] if "const" in given else [])
    if values and "type" not in given:
        kinds = dict.fromkeys(_TYPES.get(type(value), "string") for value in values)
        given["type"] = list(kinds) if len(kinds) > 1 else next(iter(kinds))
    if not given.keys() & {"$ref", "anyOf", "properties", "type"}:
        raise _missing("a value of any type", where)
    return _with_words(given)


def _with_words(given: dict[str, Any]) -> dict[str, Any]:
    """Return a part whose texts' rules are those of strict mode, with the others in words."""
    told = {name: given.pop(name) for name in _TOLD if name in given}
    if told.get("format") in _FORMATS:
        given["format"] = _FORMATS[told.pop("format")]
    if "pattern" in told and not _NOT_IN_PATTERNS.search(told["pattern"]):
        given["pattern"] = told.pop("pattern")
    if told:
        words = "; ".join(
            f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
            for name, value in told.items()
        )
        given["description"] = f"{given.get('description', '')} ({words})".strip()
    return given


def _is_object(given: Mapping[str, Any], where: str) -> bool:
    """Return whether a part is an object whose fields are known; others raise UsageError."""
    if given.get("type") != "object" and "properties" not in given:
        return False
    more = given.get("additionalProperties", "properties" not in given)
    fields = given.get("properties")
    if isinstance(more, Mapping) or "patternProperties" in given or (more and not fields):
        raise _missing("a dict", where)
    return True


def _items_of_tuple(parts: list[Any], where: str) -> Any:
    plain = [
        {name: value for name, value in part.items() if name != "title"}
        if isinstance(part, Mapping)
        else part
        for part in parts
    ]
    if any(part != plain[0] for part in plain):
        raise _missing("a tuple of different types", where)
    return plain[0]


def _missing(what: str, where: str) -> UsageError:
    return UsageError(
        f"response_format: {where} is {what}, which strict mode cannot describe; {_MISSING[what]}, "
        "or give response_format as a dict, which is sent as it is"
    )
