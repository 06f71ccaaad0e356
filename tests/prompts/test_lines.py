"""A line says what is asked in any of the common forms, or what is wrong with it."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_parallel_toolkit.api.prompts.lines import Defaults, read_line
from openai_parallel_toolkit.api.prompts.parameters import CHAT, EMBEDDINGS, RESPONSES

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


TOOLS = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
SENT = {
    CHAT: {
        "max_completion_tokens": 50, "verbosity": "low", "service_tier": "flex", "user": "me",
        "parallel_tool_calls": False, "logit_bias": {"5": -100}, "tools": TOOLS, "store": True,
        "response_format": {"type": "json_object"}, "seed": 0, "stop": ["."], "top_k": 40,
        "chat_template_kwargs": {"enable_thinking": False}, "provider": {"order": ["a"]},
        "reasoning": {"effort": "low"}, "prediction": {"type": "content", "content": "x"},
    },
    RESPONSES: {
        "max_output_tokens": 50, "reasoning": {"effort": "low"}, "text": {"verbosity": "low"},
        "tools": TOOLS, "truncation": "auto", "include": ["reasoning.encrypted_content"],
        "previous_response_id": "resp_1", "instructions": "be brief", "temperature": 0,
    },
    EMBEDDINGS: {"dimensions": 256, "encoding_format": "float", "user": "me"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path, given in SENT.items() for name in given]
)
@pytest.mark.parametrize("form", ["prompt", "instruction"])
def test_parameters_of_the_api_that_is_asked_are_sent(path, name, form):
    line = {"id": 1, form: "hello", name: SENT[path][name]}
    assert asked(line, Defaults(model="gpt", path=path))[1][name] == SENT[path][name]
    assert read(line, Defaults(model="gpt", path=path)).own == ()


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        (CHAT, {"max_output_tokens": 5}, "max_output_tokens is no .*did you mean max_tokens"),
        (CHAT, {"max_new_tokens": 5}, "did you mean max_tokens"),
        (CHAT, {"maxTokens": 5}, "did you mean max_tokens"),
        (CHAT, {"temprature": 0}, "no parameter of /chat/completions; did you mean temperature"),
        (CHAT, {"top-p": 1}, "did you mean top_p"),
        (CHAT, {"response_formats": {}}, "did you mean response_format"),
        (CHAT, {"text": {"format": {}}}, "did you mean response_format"),
        (CHAT, {"instructions": "be brief"}, "did you mean system"),
        (CHAT, {"input": "more"}, "input is no .*did you mean prompt"),
        (CHAT, {"dimensions": 5}, "dimensions is no .*take it out"),
        (RESPONSES, {"max_tokens": 5}, "did you mean max_output_tokens"),
        (RESPONSES, {"max_completion_tokens": 5}, "did you mean max_output_tokens"),
        (RESPONSES, {"response_format": {"type": "json_object"}}, "did you mean text"),
        (RESPONSES, {"reasoning_effort": "low"}, "did you mean reasoning"),
        (RESPONSES, {"seed": 1}, "seed is no parameter of /responses; take it out"),
        (EMBEDDINGS, {"max_tokens": 5}, "max_tokens is no parameter of /embeddings; take it out"),
        (EMBEDDINGS, {"temperature": 0}, "take it out"),
        (EMBEDDINGS, {"dimension": 5}, "did you mean dimensions"),
    ],
)  # fmt: skip
def test_what_looks_like_a_parameter_and_is_none_here_is_a_mistake(path, fields, words):
    found = read({"prompt": "hello", **fields}, Defaults(model="gpt", path=path))
    assert found.request is None
    assert re.search(words, found.mistake.message)
    assert "metadata" in found.mistake.message
    assert "extra_body" in found.mistake.message


@pytest.mark.parametrize("path", [CHAT, RESPONSES, EMBEDDINGS])
def test_columns_of_data_are_the_user_s_own(path):
    columns = {
        "answer": "a", "category": "b", "score": 3, "text": "c", "reasoning": "because",
        "background": "dark", "prediction": "yes", "image": "http://x", "models": 3, "url": "http",
        "max_score": 4, "output": "e", "label": 1, "provider": "f", "reason": "g", "tool": "d",
    }  # fmt: skip
    found = read({"prompt": "hello", **columns}, Defaults(model="gpt", path=path))
    assert found.mistake is None
    assert sorted(found.own) == sorted(columns)
    assert not columns.keys() & found.body.keys()


@pytest.mark.parametrize(
    "line",
    [
        {"prompt": "hello"},
        {"messages": USER},
        {"body": {"messages": USER}},
        {"url": "/v1/chat/completions", "body": {"messages": USER}},
    ],
)
def test_extra_body_is_sent_as_part_of_the_request(line):
    inner = line.get("body", line)
    inner["extra_body"] = {"min_p": 0.1, "metadata": {"row": 1}, "its_own": 2}
    assert asked(line)[1] == {"model": "gpt", "messages": USER, **inner["extra_body"]}
    assert read(line).own == ()


def test_the_system_message_of_a_line_is_the_instructions_of_a_response():
    _, body = asked({"prompt": "x", "system": "s"}, Defaults(model="gpt", path=RESPONSES))
    assert body == {"model": "gpt", "input": "x", "instructions": "s"}


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
        ({"body": {"messages": USER}, "temperature": 0}, "temperature: put it into body"),
        ({"body": {"messages": USER}, "max_new_tokens": 5}, "did you mean max_tokens"),
        ({"prompt": "a", "instruction": "b"}, "either prompt or instruction"),
        ({"prompt": "a", "extra_body": [1]}, "extra_body: expected an object"),
        ({"prompt": "a", "stream": True}, "leave stream out"),
        ({"prompt": "a", "extra_body": {"stream": True}}, "leave stream out"),
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
    [
        *("prompt", "instruction", "input", "messages", "body", "url", "model", "id", "stream"),
        *("system", "extra_body", "max_token", "text"),
    ]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary() | st.dictionaries(_FIELDS, _JSON).map(lambda v: json.dumps(v).encode()))
def test_any_line_is_blank_a_request_or_a_mistake(raw):
    found = read_line(1, raw, Defaults(model="gpt", system="s"))
    assert found is None or (found.request is None) != (found.mistake is None)
