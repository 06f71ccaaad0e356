"""The lines of batch files are written and read as the service has them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.batch.service import ResultLine, line_url, read_result, request_line
from openai_parallel_toolkit.core.records import Lease, Need, canonical_json
from openai_parallel_toolkit.core.redaction import Secret

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS, st.dictionaries(TEXTS, TEXTS | st.integers() | st.booleans()))
def test_a_request_line_is_one_line_that_holds_id_url_and_body(custom_id, body):
    line = request_line(custom_id, "/v1/chat/completions", canonical_json(body))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
    }


def test_openai_lines_have_the_version_in_their_url_and_azure_lines_have_not():
    facts = {"secret": Secret("k"), "need": Need(model="m", tokens=0), "since_s": 0.0}
    openai = Lease(id=1, key_name="k", api_base="https://api.openai.com/v1", **facts)
    azure = Lease(id=1, key_name="k", api_base="https://x.example", api_version="v", **facts)
    assert line_url(openai, "/chat/completions") == "/v1/chat/completions"
    assert line_url(azure, "/chat/completions") == "/chat/completions"


def test_an_answered_line_gives_status_body_and_request():
    line = (
        b'{"id":"b1","custom_id":"c","response":{"status_code":200,"request_id":"r",'
        b'"body":{"choices":[]}},"error":null}'
    )
    assert read_result(line) == ResultLine(
        custom_id="c", status=200, body=b'{"choices":[]}', request_id="r"
    )


def test_a_refused_line_gives_the_words_of_the_refusal():
    body = {"error": {"message": "too long", "type": "bad_request", "code": "context"}}
    line = {"custom_id": "c", "response": {"status_code": 400, "body": body}, "error": None}
    found = read_result(json.dumps(line).encode())
    assert found is not None
    assert (found.status, found.code, found.message) == (400, "context", "too long")


def test_a_line_that_was_never_asked_gives_the_reason():
    line = (
        b'{"custom_id":"c","response":null,"error":{"code":"batch_expired","message":"too late"}}'
    )
    found = read_result(line)
    assert found is not None
    assert (found.status, found.code, found.body) == (None, "batch_expired", b"")


def test_a_lone_surrogate_in_an_answer_stays_readable_json():
    found = read_result(b'{"custom_id":"c","response":{"status_code":200,"body":{"a":"\\ud800"}}}')
    assert found is not None
    assert json.loads(found.body) == {"a": "\ud800"}


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b'{"custom_id":5}', b"\xff"])
def test_what_is_no_result_line_is_none(line):
    assert read_result(line) is None


@given(st.binary())
def test_any_bytes_are_read_or_none(line):
    found = read_result(line)
    assert found is None or isinstance(found, ResultLine)
