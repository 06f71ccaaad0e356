"""What the simulator answers."""

import base64
import json
import math
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_wire import ask, call, chat_body, post

from openai_parallel_toolkit.simulator import SimKey, Simulator
from openai_parallel_toolkit.simulator.answers import (
    CONTENT_FILTER_MARKER,
    cut_to_tokens,
    token_count,
)
from openai_parallel_toolkit.simulator.schema import fit_schema

KEYS = (SimKey("good"), SimKey("other", models=("gpt-4o",)), SimKey("bad", valid=False))


@pytest.fixture(scope="module")
def sim():
    with Simulator(KEYS, seed=7, context_tokens=1000) as simulator:
        yield simulator


def test_an_answer_is_an_extract_of_the_question(sim):
    prompt = "The sea is deep. Fish of many kinds live in it."
    reply = ask(sim, prompt)
    assert reply.status == 200
    assert reply.text
    assert reply.text in prompt
    assert reply.json["choices"][0]["finish_reason"] == "stop"


def test_usage_counts_four_bytes_a_token(sim):
    usage = ask(sim, "x" * 40).json["usage"]
    assert usage["prompt_tokens"] == 3 + 3 + 10
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_two_runs_give_the_same_bytes_whatever_key_and_order():
    bodies = [chat_body(f"Question {number}. Why?") for number in range(5)]
    keys = [SimKey("good"), SimKey("second")]
    with Simulator(keys, seed=7) as one, Simulator(keys, seed=7) as two:
        first = [post(one, body).body for body in bodies]
        second = [post(two, body, "second").body for body in reversed(bodies)]
    assert first == second[::-1]


def test_another_seed_gives_another_answer():
    with Simulator(KEYS, seed=1) as one, Simulator(KEYS, seed=2) as two:
        assert ask(one).json["id"] != ask(two).json["id"]


def test_each_request_has_an_id_of_its_own_in_the_header_alone(sim):
    first, second = ask(sim), ask(sim)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.body == second.body


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_length_limit_cuts_the_answer(sim, name):
    reply = ask(sim, "Fishes swim about " * 10, **{name: 2})
    assert reply.json["choices"][0]["finish_reason"] == "length"
    assert reply.json["usage"]["completion_tokens"] == 2


def test_n_choices_are_answered(sim):
    assert [choice["index"] for choice in ask(sim, n=3).json["choices"]] == [0, 1, 2]


def test_the_marker_provokes_the_content_filter(sim):
    choice = ask(sim, f"Bad words {CONTENT_FILTER_MARKER}").json["choices"][0]
    assert choice["finish_reason"] == "content_filter"
    assert choice["message"]["content"] == ""


def test_json_object_gives_an_object(sim):
    assert isinstance(json.loads(ask(sim, response_format={"type": "json_object"}).text), dict)


def test_json_schema_gives_an_object_that_fits(sim):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 5},
            "age": {"type": "integer", "minimum": 18, "maximum": 20},
            "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            "is_new": {"type": "boolean"},
            "colour": {"enum": ["red", "blue"]},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "home": {"$ref": "#/$defs/Home"},
        },
        "$defs": {"Home": {"type": "object", "properties": {"town": {"type": "string"}}}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    person = json.loads(ask(sim, response_format=form).text)
    assert len(person["name"]) <= 5
    assert person["age"] in (18, 19, 20)
    assert 0 < person["share"] < 1
    assert isinstance(person["is_new"], bool)
    assert person["colour"] in ("red", "blue")
    assert len(person["tags"]) >= 2
    assert isinstance(person["home"]["town"], str)


def test_a_schema_that_refers_to_itself_ends():
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    }
    json.dumps(fit_schema(node, ["a"], b"dice"))


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", None, None),
        (b"[1]", None, None),
        (b'{"messages": []}', None, "model"),
        (b'{"model": "m"}', "missing_required_parameter", "messages"),
        (b'{"model": "m", "messages": "hi"}', "invalid_type", "messages"),
        (chat_body(max_tokens=0), "invalid_value", "max_tokens"),
        (chat_body(n=1000), "invalid_value", "n"),
        (chat_body("word " * 1000), "context_length_exceeded", "messages"),
        (chat_body(max_tokens=5000), "context_length_exceeded", "messages"),
    ],
)
def test_a_body_that_cannot_be_served_is_refused_as_openai_does(sim, body, code, param):
    reply = post(sim, body)
    assert reply.status == 400
    error = reply.json["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]


def test_no_key_an_unknown_one_and_a_dead_one_get_401(sim):
    unknown = post(sim, chat_body(), "no-such-key-here-wxyz")
    assert (unknown.status, unknown.code) == (401, "invalid_api_key")
    assert "sim*" in unknown.json["error"]["message"]
    assert "wxyz" in unknown.json["error"]["message"]
    assert "no-such-key" not in unknown.json["error"]["message"]
    assert call(sim, "POST", "/v1/chat/completions", chat_body()).status == 401
    assert ask(sim, key="bad").code == "invalid_api_key"


def test_a_model_that_the_key_does_not_have_is_not_found(sim):
    assert ask(sim, key="other", model="gpt-4o").status == 200
    reply = ask(sim, key="other", model="gpt-9")
    assert (reply.status, reply.code) == (404, "model_not_found")


def test_models_are_listed_by_key(sim):
    listed = call(sim, "GET", "/v1/models", headers={"Authorization": "Bearer sim-other"})
    assert [model["id"] for model in listed.json["data"]] == ["gpt-4o"]
    assert call(sim, "GET", "/v1/models").status == 401


def test_an_unknown_path_is_a_json_404_and_a_wrong_method_a_405(sim):
    reply = post(sim, b"{}", path="/v1/nothing")
    assert reply.status == 404
    assert reply.json["error"]["message"] == "Invalid URL (POST /v1/nothing)"
    assert call(sim, "GET", "/v1/chat/completions").status == 405


def test_embeddings_are_unit_vectors_that_depend_on_the_text(sim):
    def embed(**fields):
        body = json.dumps({"model": "text-embedding-3-small", **fields}).encode()
        return post(sim, body, path="/v1/embeddings").json["data"]

    one, two, again = (row["embedding"] for row in embed(input=["a", "b", "a"]))
    assert one == again != two
    assert len(one) == 1536
    assert math.isclose(sum(number**2 for number in one), 1)
    packed = embed(input="a", encoding_format="base64")[0]["embedding"]
    assert array("f", base64.b64decode(packed)) == array("f", one)
    assert len(embed(input="a", dimensions=8)[0]["embedding"]) == 8
    assert len(embed(input=[[1, 2], [3]])) == 2


def test_responses_answer_texts_and_schemas(sim):
    def respond(**fields):
        body = json.dumps({"model": "gpt-4o", **fields}).encode()
        return post(sim, body, path="/v1/responses").json

    plain = respond(input="Tell me.")
    assert plain["status"] == "completed"
    assert plain["output"][0]["content"][0]["text"] == "Tell me."
    cut = respond(input=[{"role": "user", "content": "Tell me of fishes"}], max_output_tokens=1)
    assert cut["incomplete_details"] == {"reason": "max_output_tokens"}
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    form = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    made = respond(input="Hi.", text=form)["output"][0]["content"][0]["text"]
    assert isinstance(json.loads(made)["ok"], bool)


@given(st.text(), st.integers(1, 50))
def test_a_cut_text_has_at_most_the_tokens(text, most):
    assert token_count(cut_to_tokens(text, most)) <= most


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**20) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["messages", "n", "max_tokens", "stream", "stream_options", "response_format", "input",
     "dimensions", "encoding_format", "instructions", "text", "max_output_tokens"]
)  # fmt: skip
PATHS = st.sampled_from(["/v1/chat/completions", "/v1/embeddings", "/v1/responses"])


@settings(max_examples=100, deadline=None)
@given(path=PATHS, fields=st.dictionaries(FIELDS, JSON), content=JSON)
def test_any_body_gets_an_answer_or_a_refusal(sim, path, fields, content):
    body = {"messages": [{"role": "user", "content": content}], "input": "x", **fields}
    reply = post(sim, json.dumps({"model": "m", **body}).encode(), path=path)
    assert reply.status in (200, 400)


SCHEMA_KEYS = st.sampled_from(
    ["type", "enum", "const", "anyOf", "$ref", "properties", "items", "minItems", "maxItems",
     "minimum", "maximum", "minLength", "maxLength", "format"]
)  # fmt: skip
KINDS = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null", "#"])
SCHEMAS = st.recursive(
    st.dictionaries(SCHEMA_KEYS, JSON | KINDS, max_size=3),
    lambda inner: st.dictionaries(
        SCHEMA_KEYS, KINDS | inner | st.lists(inner, max_size=2) | st.dictionaries(KINDS, inner)
    ),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(SCHEMAS)
def test_any_schema_gives_json_and_the_same_each_time(schema):
    made = [json.dumps(fit_schema(schema, ["a", "b"], b"dice")) for _ in range(2)]
    assert made[0] == made[1]
