"""A schema as strict mode takes it: what it says, leaves out, and cannot ask for."""

import contextlib
import datetime as dt
import enum
import json
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

import jsonschema
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from openai_parallel_toolkit import ChatModel, ResponsesModel, UsageError
from openai_parallel_toolkit.calls.models import request_of
from openai_parallel_toolkit.simulator.schema import fit_schema

FORMATS = {
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"
}  # fmt: skip
KNOWN = {
    "$defs", "$ref", "additionalProperties", "anyOf", "const", "description", "enum",
    "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maximum",
    "minItems", "minLength", "minimum", "multipleOf", "pattern", "properties", "required", "title",
    "type",
}  # fmt: skip


def refusals(part, where="root"):
    """What the API would refuse in a schema, by its documentation."""
    yield from (f"{where}: {word}" for word in part.keys() - KNOWN)
    if not part.keys() & {"type", "anyOf", "$ref"}:
        yield f"{where}: no type"
    if "$ref" in part and len(part) > 1:
        yield f"{where}: $ref beside {sorted(part)}"
    if "(?" in part.get("pattern", "") or part.get("format", "date") not in FORMATS:
        yield f"{where}: {part.get('pattern')} {part.get('format')}"
    if part.get("type") == "object":
        if part.get("additionalProperties") is not False:
            yield f"{where}: open"
        if sorted(part["required"]) != sorted(part["properties"]):
            yield f"{where}: fields that are not required"
    if part.get("type") == "array" and "items" not in part:
        yield f"{where}: no items"
    inner = {**part.get("$defs", {}), **part.get("properties", {})}
    inner.update(enumerate(part.get("anyOf", ())))
    if "items" in part:
        inner["items"] = part["items"]
    for name, one in inner.items():
        yield from refusals(one, f"{where}.{name}")


def strict(kind):
    """The schema that is sent for a class; both APIs are told the same."""
    chat = json.loads(request_of(ChatModel("m", content="c", response_format=kind)).body)
    schema = chat["response_format"]["json_schema"]["schema"]
    form = json.loads(request_of(ResponsesModel("m", "c", response_format=kind)).body)["text"]
    assert form["format"]["schema"] == schema
    assert form["format"]["strict"] is chat["response_format"]["json_schema"]["strict"] is True
    assert not list(refusals(schema))
    assert schema["type"] == "object"
    return schema


def holder(kind, **field):
    """A class with one field of a type."""
    return pydantic.create_model("Holder", x=(kind, Field(**field)))


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    breed: str = "mongrel"


class Colour(enum.Enum):
    RED = "red"
    ONE = 1


class Point(NamedTuple):
    x: float
    y: float


class Tree(BaseModel):
    value: int = 0
    children: "list[Tree]" = Field(default_factory=list, description="those below")


class Open(BaseModel, extra="allow"):
    name: str


CAT_OR_DOG = [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]
TEXT, WHOLE = {"type": "string"}, {"type": "integer"}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Annotated[Cat | Dog, Field(discriminator="kind")], {"anyOf": CAT_OR_DOG}),
        (Cat | Dog, {"anyOf": CAT_OR_DOG}),
        (tuple[int, int], {"type": "array", "items": WHOLE, "minItems": 2, "maxItems": 2}),
        (Point, {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
        (tuple[int, ...], {"type": "array", "items": WHOLE}),
        (set[str], {"type": "array", "items": TEXT}),
        (frozenset[Cat], {"type": "array", "items": {"$ref": "#/$defs/Cat"}}),
        (Literal[1, "a"], {"enum": [1, "a"], "type": ["integer", "string"]}),
        (Literal["a"], {"const": "a", "type": "string"}),
        (Cat | None, {"anyOf": [{"$ref": "#/$defs/Cat"}, {"type": "null"}]}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (pydantic.UUID4, {"type": "string", "format": "uuid"}),
        (dt.timedelta, {"type": "string", "format": "duration"}),
        (pydantic.PositiveInt, {"type": "integer", "exclusiveMinimum": 0}),
        (
            Annotated[str, Field(pattern="^[a-z]+$", min_length=2)],
            {"type": "string", "pattern": "^[a-z]+$", "minLength": 2},
        ),
        (
            Annotated[list[int], Field(min_length=1, max_length=3)],
            {"type": "array", "items": WHOLE, "minItems": 1, "maxItems": 3},
        ),
        (
            pydantic.HttpUrl,
            {"type": "string", "minLength": 1, "maxLength": 2083, "description": "(format: uri)"},
        ),
        (
            Annotated[str, pydantic.WithJsonSchema({"type": "string", "pattern": "^(?=.*x)"})],
            {"type": "string", "description": "(pattern: ^(?=.*x))"},
        ),
        (
            Annotated[str, Field(description="a name", examples=["Ann"])],
            {"type": "string", "description": 'a name (examples: ["Ann"])'},
        ),
        (
            Annotated[int, pydantic.WithJsonSchema({"allOf": [WHOLE], "x-mine": 1})],
            WHOLE,
        ),
    ],
)
def test_a_type_is_said_in_words_that_strict_mode_has(kind, said):
    schema = strict(holder(kind))
    field = schema["properties"]["x"]
    field = schema["$defs"]["Point"] if kind is Point else field
    assert {name: value for name, value in field.items() if name != "title"} == said


@pytest.mark.parametrize("kind", [bool, int, str, Colour, Cat, list[int], Decimal])
@pytest.mark.parametrize("default", [None, 0, "words"])
def test_a_field_with_a_default_is_asked_for_and_read_with_its_default(kind, default):
    plain, given_one = strict(holder(kind)), strict(holder(kind, default=default))
    assert plain == given_one
    assert plain["required"] == ["x"]
    assert holder(kind, default=default).model_validate_json("{}").x == default


def test_fields_called_like_words_of_the_language_are_kept():
    names = ["default", "oneOf", "properties", "items", "pattern"]
    kind = pydantic.create_model("Names", **dict.fromkeys(names, (str, ...)))
    assert strict(kind)["required"] == names


def test_a_class_that_holds_itself_is_said_once():
    schema = strict(Tree)
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert schema["$defs"]["Tree"]["required"] == ["value", "children"]


def test_a_class_open_for_more_is_asked_for_its_own_fields():
    assert strict(Open)["additionalProperties"] is False


def test_a_schema_that_was_in_the_dialect_is_sent_as_it_was():
    kind = pydantic.create_model("Both", pet=(Cat, ...), point=(list[float], ...))
    assert strict(kind)["$defs"]["Cat"] == {
        **Cat.model_json_schema(), "additionalProperties": False
    }  # fmt: skip


A_DICT = "x is a dict.*a list of objects with a key and a value"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (dict, A_DICT),
        (dict[str, str], A_DICT),
        (dict[str, Cat] | None, A_DICT),
        (list[dict[str, int]], A_DICT),
        (dict[Literal["a", "b"], int], A_DICT),
        (dict[Annotated[str, pydantic.StringConstraints(pattern="^x")], int], A_DICT),
        (tuple[int, str], "x is a tuple of different types.*a field for each"),
        (list, "x is a (list of anything|value of any type)"),
        (Any, "x is a value of any type.*name its type"),
        (Any | None, "x is a value of any type"),
        (pydantic.JsonValue, "is a value of any type"),
        (
            Annotated[int, pydantic.WithJsonSchema({"allOf": [WHOLE, {"minimum": 1}]})],
            "x is allOf",
        ),
    ],
)
def test_what_strict_mode_has_no_words_for_is_told_with_its_field_before_anything_is_sent(
    kind, words
):
    with pytest.raises(UsageError, match=words) as told:
        ChatModel("m", content="c", response_format=holder(kind))
    assert "give response_format as a dict" in told.value.message
    with pytest.raises(UsageError, match=words):
        ResponsesModel("m", "c", response_format=holder(kind))


def test_a_field_of_an_inner_class_is_named_with_its_class():
    inner = pydantic.create_model("Inner", cells=(dict[str, int], ...))
    with pytest.raises(UsageError, match=r"Inner\.cells is a dict"):
        ChatModel("m", content="c", response_format=holder(list[inner]))


@pytest.mark.parametrize(
    "kind", [pydantic.RootModel[list[int]], pydantic.RootModel[Cat | Dog], Colour]
)
def test_what_is_no_object_is_to_be_a_field_of_a_class(kind):
    with pytest.raises(UsageError, match="must describe an object; write a class with it"):
        ChatModel("m", content="c", response_format=kind)


# Types whose every rule strict mode has words for: what fits the one fits the other.
_LEAVES = st.sampled_from(
    [
        int, float, str, bool, type(None), Colour, Cat, Literal["a", 2], uuid.UUID, dt.date,
        dt.datetime, Annotated[int, Field(ge=2, lt=9)], Annotated[str, Field(max_length=3)],
    ]
)  # fmt: skip
_ANY_LEAVES = _LEAVES | st.sampled_from([Any, dict, list, Decimal, Point, Tree, Open, bytes])


def _wider(inner):
    fields = st.tuples(inner, st.sampled_from([{}, {"default": None}, {"description": "of it"}]))
    return st.one_of(
        inner.map(lambda kind: list[kind]),
        inner.map(lambda kind: tuple[kind, kind]),
        inner.map(lambda kind: kind | None),
        st.tuples(inner, inner).map(lambda kinds: kinds[0] | kinds[1]),
        st.lists(fields, max_size=3).map(_model),
    )


def _wider_any(inner):
    return _wider(inner) | st.one_of(
        inner.map(lambda kind: dict[str, kind]),
        st.tuples(inner, inner).map(lambda kinds: tuple[kinds]),
    )


def _model(fields):
    named = {f"f{n}": (kind, Field(**more)) for n, (kind, more) in enumerate(fields)}
    return pydantic.create_model("Inner", **named)


_QUICK = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))


@_QUICK
@given(kind=st.recursive(_LEAVES, _wider, max_leaves=6), dice=st.binary(max_size=4))
def test_what_fits_the_type_fits_what_is_sent_and_the_other_way_round(kind, dice):
    outer = holder(kind)
    schema = strict(outer)
    answer = fit_schema(schema, ["a", "b"], dice)
    jsonschema.validate(answer, schema)
    read = outer.model_validate_json(json.dumps(answer))
    jsonschema.validate(json.loads(read.model_dump_json()), schema)


@_QUICK
@given(kind=st.recursive(_ANY_LEAVES, _wider_any, max_leaves=6))
def test_any_type_is_said_in_the_dialect_or_refused_before_it_is_sent(kind):
    with contextlib.suppress(UsageError):
        strict(holder(kind))
