"""Answers that must be JSON: validated, asked again, replayed, and never silently bad."""

import asyncio
import enum
import json
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib._parsing._completions import type_to_response_format_param
from openai.lib._pydantic import to_strict_json_schema
from toolkit_fixture import Hooks

from openai_parallel_toolkit import (
    ChatModel,
    FakeTransport,
    Gpt35Turbo,
    IncompleteAnswer,
    InvalidAnswer,
    ResponsesModel,
    UsageError,
    arequest_openai_api,
    multi_process_one,
    request_openai_api,
    request_reply,
)
from openai_parallel_toolkit.calls.models import request_of
from openai_parallel_toolkit.calls.structured import json_part
from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import Fault


class Mood(str, enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Place(pydantic.BaseModel):
    name: str
    country: str | None = None


class Review(pydantic.BaseModel):
    """What somebody thought."""

    mood: Mood = pydantic.Field(description="how it sounds")
    stars: int = pydantic.Field(ge=1, le=5)
    places: list[Place]
    home: Place = pydantic.Field(default=None, description="where it was")


@dataclass
class Point:
    x: float
    y: float


class Tree(pydantic.BaseModel):
    value: int
    children: list["Tree"]


class Node(pydantic.BaseModel):
    value: int
    left: "Node" = pydantic.Field(description="the smaller ones")
    right: "Node" = pydantic.Field(description="the larger ones")


Value = TypeVar("Value")


class Box(pydantic.BaseModel, Generic[Value]):
    inside: Value


class Size(pydantic.BaseModel):
    stars: int


@pytest.mark.parametrize("kind", [Review, Place, Tree, Size])
def test_the_request_carries_the_schema_as_the_openai_package_would(kind):
    body = json.loads(request_of(ChatModel("m", content="c", response_format=kind)).body)
    assert body["response_format"] == type_to_response_format_param(kind)
    body = json.loads(request_of(ResponsesModel("m", "c", response_format=kind)).body)
    schema = to_strict_json_schema(kind)
    assert body["text"]["format"] == {
        "type": "json_schema", "name": kind.__name__, "schema": schema, "strict": True
    }  # fmt: skip


def test_a_described_reference_to_itself_ends():
    body = json.loads(request_of(ChatModel("m", content="c", response_format=Node)).body)
    described = body["response_format"]["json_schema"]["schema"]
    assert described["properties"]["left"] == {"$ref": "#/$defs/Node"}
    left = described["$defs"]["Node"]["properties"]["left"]
    assert left["description"] == "the smaller ones"
    assert left["properties"]["right"] == {"$ref": "#/$defs/Node"}


def test_the_name_of_the_schema_is_one_that_the_api_takes():
    model = ChatModel("m", content="c", response_format=Box[int])
    assert model.payload()["response_format"]["json_schema"]["name"] == "Box_int_"


@pytest.mark.parametrize("kind", [Review, Place, Point, Tree, Box[int]])
@pytest.mark.parametrize("make", [
    lambda kind: ChatModel("m", content="the quick fox", response_format=kind),
    lambda kind: Gpt35Turbo("the quick fox", response_format=kind),
    lambda kind: ResponsesModel("m", "the quick fox", response_format=kind),
])  # fmt: skip
def test_a_class_gives_an_object_of_it(fixture, kind, make):
    keys = fixture.keys(fixture.simulate())
    assert isinstance(request_openai_api(make(kind), keys), kind)
    assert isinstance(asyncio.run(arequest_openai_api(make(kind), keys)), kind)


@pytest.mark.parametrize("form", [
    {"type": "json_object"},
    {"type": "json_schema", "json_schema": {"name": "n", "schema": Size.model_json_schema()}},
    {"type": "json_schema", "name": "n", "schema": Size.model_json_schema()},
])  # fmt: skip
def test_a_dict_gives_parsed_json(fixture, form):
    keys = fixture.keys(fixture.simulate())
    models = [ResponsesModel("m", "hello", response_format=form)]
    if "name" not in form:
        models.append(ChatModel("m", content="hello", response_format=form))
    for model in models:
        assert isinstance(request_openai_api(model, keys), dict)


def test_the_form_text_gives_text(fixture):
    keys = fixture.keys(fixture.simulate())
    model = ChatModel("m", content="hello", response_format={"type": "text"})
    assert isinstance(request_openai_api(model, keys), str)
    assert request_reply(ChatModel("m", content="hello", response_format=Size), keys).text[0] == "{"


@pytest.mark.parametrize("form", ["json", 5, int, list])
def test_what_describes_no_object_is_refused(form):
    with pytest.raises(UsageError, match="response_format"):
        ChatModel("m", content="c", response_format=form)


def test_many_answers_are_objects(fixture):
    keys = fixture.keys(fixture.simulate())
    data = [("", f"text {n}") for n in range(20)]
    got = multi_process_one(data, Gpt35Turbo, keys=keys, response_format=Size)
    assert {type(answer) for answer in got} == {Size}


class Rates(Hooks):
    """Rates a text and asks again as often as told."""

    retries: ClassVar = {}
    model = staticmethod(lambda text: Gpt35Turbo(text, response_format=Size))

    def process_data(self, data):
        return request_openai_api(self.model(data), **self.retries).stars


class RatesMany(Rates):
    def process_data(self, data):
        (got,) = multi_process_one(
            [("", data)], Gpt35Turbo, response_format=Size, **self.retries
        )  # fmt: skip
        return got.stars


class RatesAsync(Rates):
    async def process_data(self, data):
        return (await arequest_openai_api(self.model(data), **self.retries)).stars


def saying(*answers):
    """A transport that gives one answer after the other."""
    left = iter(answers)
    return FakeTransport(lambda request, lease: next(left))


def journaled(fixture):
    with JournalReader(str(fixture.output / ".openai_parallel_toolkit")) as journal:
        return journal.file("f000.txt").attempts


KINDS = pytest.mark.parametrize("kind", [Rates, RatesMany, RatesAsync])


@KINDS
def test_an_answer_that_does_not_fit_is_asked_again_and_all_tries_replay(fixture, kind):
    class Fails(kind):
        def process_output(self, data, output_file_without_ext):
            raise ValueError("after all was paid")

    fixture.configure(fixture.simulate()).inputs(1)
    fake = saying('{"stars": ', '{"stars": "many"}', '{"stars": 4}')
    assert fixture.run(Fails, transport=fake).failed == 1
    assert len({request.body for request, _ in fake.sent}) == 1
    attempts = journaled(fixture)
    assert [(a.k, a.attempt_try, a.ending.kind.value) for a in attempts] == [
        (0, 0, "ok"), (0, 1, "ok"), (0, 2, "ok")
    ]  # fmt: skip
    summary = fixture.run(kind, transport=fake)
    assert (summary.calls.sent, summary.calls.replayed) == (0, 3)
    assert fixture.outputs() == {"f000.json": 4}


@KINDS
def test_after_max_validation_retries_it_is_an_invalid_answer(fixture, kind):
    fixture.configure(fixture.simulate()).inputs(1)
    fake = saying(*["not JSON at all"] * 9)
    summary = fixture.run(kind, transport=fake)
    (failure,) = fixture.failures()
    assert failure["kind"] == "InvalidAnswer"
    assert "not JSON at all" not in failure["message"]
    assert (summary.calls.sent, summary.calls.answered) == (3, 3)
    again = fixture.run(kind, transport=fake)
    assert (again.failed, again.calls.sent, again.calls.replayed) == (1, 0, 3)
    kind = type("MoreTries", (kind,), {"retries": {"max_validation_retries": 4}})
    more = fixture.run(kind, transport=fake)
    assert (more.calls.sent, more.calls.replayed) == (2, 3)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('{"stars": "secret words"}', "stars: Input should be"),
        ("{}", "stars: Field required"),
        ("[1]", "all: "),
        ("secret words", "Invalid JSON"),
    ],
)
def test_the_error_says_what_is_wrong_and_does_not_quote_the_answer(fixture, answer, reason):
    seen = []

    class Catches(Rates):
        def process_data(self, data):
            try:
                return super().process_data(data)
            except InvalidAnswer as exc:
                seen.append(exc)

    Catches.retries = {"max_validation_retries": 0}
    fixture.configure(fixture.simulate()).inputs(1).run(Catches, transport=saying(answer))
    (error,) = seen
    assert reason in error.reason
    assert error.reason in error.message
    assert "secret words" not in error.message
    assert error.text == answer


@pytest.mark.parametrize("answer", ["NaN", '{"a": Infinity}', "{", "[" * 100_000, "words"])
def test_what_is_no_json_is_no_answer_to_a_dict_form(fixture, answer):
    class AsksJson(Hooks):
        def process_data(self, data):
            model = ChatModel("m", content=data, response_format={"type": "json_object"})
            return request_openai_api(model)

    fake = saying(answer, answer, '{"a": 1}')
    fixture.configure(fixture.simulate()).inputs(1).run(AsksJson, transport=fake)
    assert fixture.outputs() == {"f000.json": {"a": 1}}


@pytest.mark.parametrize("kind", ["finish_length", "finish_content_filter", "empty_content"])
def test_a_cut_answer_is_incomplete_and_not_asked_again(fixture, kind):
    sim = fixture.simulate(faults=[Fault(kind)])
    keys = fixture.keys(sim)
    for allow in (False, True):
        with pytest.raises(IncompleteAnswer):
            request_openai_api(Gpt35Turbo("hi", response_format=Size), keys, allow_incomplete=allow)
    got = multi_process_one(
        [("", "hi")], Gpt35Turbo, keys=keys, response_format=Size, return_exceptions=True
    )
    assert [type(answer) for answer in got] == [IncompleteAnswer]
    assert sim.ledger.billed() == 3


def test_a_dry_run_knows_the_next_try(fixture):
    fixture.configure(fixture.simulate()).inputs(1)
    fixture.run(Rates, transport=saying("no", "no", "no"))
    more = type("MoreTries", (Rates,), {"retries": {"max_validation_retries": 4}})
    assert fixture.run(more, dry_run=True).would_send == 1


JSON = '{"stars": 4}'


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{JSON}\n```",
        f"```\n{JSON}\n```",
        f"``` JSON\n{JSON}```",
        f"```json {JSON} ```",
        f"~~~json\n{JSON}\n~~~",
        f"```json\n{JSON}",
        f"Here is what you asked for:\n\n```json\n{JSON}\n```\nIs there anything else?",
        f"<think>Perhaps {{}}?\n```json\n[]\n```</think>\n\n```json\n{JSON}\n```",
        f"Four, I think.</think>{JSON}",
        f"<thinking>\nFour.\n</thinking>\n{JSON}",
    ],
)
def test_json_in_a_fence_or_after_thoughts_is_json(text):
    assert json_part(text) == JSON


@pytest.mark.parametrize(
    "text",
    [
        JSON,
        '{"code": "```js\\n{}\\n```"}',
        '"a text with ```json\\n{}\\n``` in it"',
        f"Either\n```json\n{JSON}\n```\nor\n```json\n{{}}\n```",
        "```json\nno JSON\n```",
        '```json\n{"stars": \n```',
        "no fence at all",
        "",
    ],
)
def test_what_is_json_already_or_cannot_be_told_stays_as_it_is(text):
    assert json_part(text) == text


def test_a_fence_within_the_json_is_a_part_of_it():
    inner = '{"code": "```[1]```", "stars": 4}'
    assert json_part(f"```json\n{inner}\n```") == inner


@given(st.text())
def test_any_text_is_looked_at_for_json(text):
    assert json_part(text) in text


@pytest.mark.parametrize("kind", [Rates, RatesMany, RatesAsync])
def test_an_answer_in_a_fence_is_paid_once(fixture, kind):
    fixture.configure(fixture.simulate()).inputs(1)
    fake = saying(f"Here you are:\n```json\n{JSON}\n```")
    assert fixture.run(kind, transport=fake).calls.sent == 1
    assert fixture.outputs() == {"f000.json": 4}


def test_cut_answers_of_earlier_runs_use_up_no_validation_retries(fixture):
    """Each of two runs meets a cut answer; the third may still ask three times for good JSON."""
    sim = fixture.simulate(faults=[Fault("finish_length", times=2)])
    fixture.configure(sim).inputs(1)
    assert [fixture.run(Rates).failed for _ in range(2)] == [1, 1]
    summary = fixture.run(Rates, transport=saying("no", "no", JSON))
    assert (summary.done, summary.calls.sent, summary.calls.replayed) == (1, 3, 2)
