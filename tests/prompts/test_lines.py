"""A line says what is asked in any of the common forms, or what is wrong with it."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_parallel_toolkit.api.prompts.lines import EMBEDDINGS, RESPONSES, Defaults, read_line

GPT = Defaults(model="gpt")
USER = [{"role": "user", "content": "hello"}]


def read(line, defaults=GPT, number=2):
    raw = line.encode() if isinstance(line, str) else json.dumps(line).encode()
    return read_line(number, raw + b"\n", defaults)


def asked(line, defaults=GPT):
    found = read(line, defaults)
    assert found.mistake is None, found.mistake
    assert json.loads(found.request.body) == found.body
    return found.request.path, found.body


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "  hello \r",
        '"hello"',
        {"prompt": "hello"},
        {"prompt": "hello", "category": "my own", "score": 3},
        {"instruction": "hello", "input": "", "index": 1},
        {"messages": USER},
        {"body": {"messages": USER}, "custom_id": "a"},
        {
            "custom_id": "a",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt", "messages": USER},
        },
    ],
)
def test_every_form_makes_the_same_chat(line):
    assert asked(line) == ("/chat/completions", {"model": "gpt", "messages": USER})


def test_an_instruction_and_its_input_make_the_prompt():
    _, body = asked({"instruction": "Add.", "input": "1 and 1"})
    assert body["messages"] == [{"role": "user", "content": "Add.\n\n1 and 1"}]


def test_what_a_line_calls_itself_is_kept_and_not_sent():
    ids = {"id": 1, "index": 2, "custom_id": "c", "metadata": {"row": 3}}
    found = read({"messages": USER, **ids})
    assert found.ids == ids
    assert not ids.keys() & found.body.keys()


def test_a_line_wins_over_what_holds_for_all():
    all_of_them = Defaults(model="gpt", parameters={"temperature": 0, "seed": 1})
    _, body = asked({"messages": USER, "model": "other", "temperature": 1}, all_of_them)
    assert (body["model"], body["temperature"], body["seed"]) == ("other", 1, 1)


def test_parameters_of_a_prompt_are_sent_and_other_fields_are_not():
    _, body = asked({"prompt": "hello", "temperature": 0.5, "answer": "expected"})
    assert body["temperature"] == 0.5
    assert "answer" not in body


def test_a_system_message_is_added_where_there_is_none():
    brief = Defaults(model="gpt", system="be brief")
    _, body = asked({"messages": USER}, brief)
    assert body["messages"] == [{"role": "system", "content": "be brief"}, *USER]
    own = [{"role": "developer", "content": "be long"}, *USER]
    assert asked({"messages": own}, brief)[1]["messages"] == own
    assert asked({"prompt": "x", "system": "s"}, brief)[1]["messages"][0]["content"] == "s"


@pytest.mark.parametrize("path", [EMBEDDINGS, RESPONSES])
def test_input_alone_goes_where_the_url_says(path):
    defaults = Defaults(model="gpt", path=path)
    assert asked({"input": "hello"}, defaults) == (path, {"model": "gpt", "input": "hello"})
    assert asked("hello", defaults) == (path, {"model": "gpt", "input": "hello"})


@pytest.mark.parametrize("raw", [b"\n", b"  \r\n", b"\xef\xbb\xbf\n"])
def test_a_blank_line_is_none(raw):
    assert read_line(1, raw, GPT) is None


def test_a_byte_order_mark_belongs_to_no_prompt():
    assert read("\ufeffhello", number=1).body["messages"] == USER


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": "hel', "begins like JSON"),
        ({"question": "hello"}, "holds no request"),
        ({"input": "hello"}, "--request-url"),
        ({"prompt": ""}, "prompt: expected a text"),
        ({"prompt": 3}, "prompt: expected a text"),
        ({"messages": "hello"}, "messages: expected a list"),
        ({"messages": USER, "stream": True}, "leave stream out"),
        ({"messages": USER, "model": ""}, "--model"),
        ({"messages": [{"role": "user", "content": "\0"}]}, "NUL"),
        ({"prompt": "\ud800"}, "half a character"),
        ('{"messages": [NaN]}', "NaN is not JSON"),
        ({"body": {}, "method": "GET"}, "method: expected POST"),
        ({"body": {}, "url": "/v1/images"}, "url: expected one of"),
        ('{"messages": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    ],
)
def test_a_mistake_is_told_and_the_line_is_not_sent(line, words):
    found = read(line, Defaults(model="gpt", system="s"))
    assert found.request is None
    assert words in found.mistake.message


def test_bytes_that_are_no_text_are_a_mistake():
    assert "not UTF-8" in read_line(2, b"\xff\xfe\n", GPT).mistake.message


def test_a_line_without_a_model_is_a_mistake():
    assert "--model" in read("hello", Defaults()).mistake.message


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
_FIELDS = st.sampled_from(
    ["prompt", "instruction", "input", "messages", "body", "url", "model", "id", "stream", "system"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary() | st.dictionaries(_FIELDS, _JSON).map(lambda v: json.dumps(v).encode()))
def test_any_line_is_blank_a_request_or_a_mistake(raw):
    found = read_line(1, raw, Defaults(model="gpt", system="s"))
    assert found is None or (found.request is None) != (found.mistake is None)
