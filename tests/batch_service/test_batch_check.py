"""What is wrong with a batch file is found before it is sent, and named by line."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.batch.service.check import AZURE_URLS, check_file


def a_line(custom_id="a", **changes):
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "two words"}]}
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps({**line, **changes}).encode() + b"\n"


def check(*lines, **settings):
    return check_file(io.BytesIO(b"".join(lines)), **settings)


def found(*lines, **settings):
    return [(one.code, one.line) for one in check(*lines, **settings).findings]


def test_a_good_file_tells_its_lines_size_url_and_model():
    seen = check(a_line("a"), a_line("b"))
    assert seen.is_good
    assert (seen.lines, seen.url, seen.model) == (2, "/v1/chat/completions", "gpt-4o")
    assert seen.size_bytes == 2 * len(a_line())
    assert seen.prompt_tokens is None


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("malformed_line", b'{"custom_id": \n'),
        ("malformed_line", b"[1]\n"),
        ("malformed_line", b"\xff\xfe\n"),
        ("missing_field", a_line(None)),
        ("missing_field", a_line("")),
        ("missing_field", a_line("b", url=None)),
        ("missing_field", a_line("b", body=None)),
        ("missing_field", a_line("b", body={"messages": []})),
        (
            "missing_field",
            b'{"custom_id":"b","url":"/v1/chat/completions","body":{"model":"gpt-4o"}}',
        ),
        ("wrong_method", a_line("b", method="GET")),
        ("wrong_url", a_line("b", url="/v1/chat/completion")),
        ("wrong_url", a_line("b", url="/chat/completions")),
        ("mixed_urls", a_line("b", url="/v1/embeddings")),
        ("mixed_models", a_line("b", body={"model": "gpt-5"})),
        ("duplicate_custom_id", a_line("a")),
    ],
)
def test_what_is_wrong_with_a_line_is_named_with_its_number(code, line):
    assert found(a_line("a"), line) == [(code, 2)]


def test_a_second_use_of_an_id_names_the_first():
    [finding] = check(a_line("a"), a_line("b"), a_line("a")).findings
    assert str(finding) == "line 3: line 1 has the same custom_id"


def test_azure_takes_urls_with_and_without_the_version():
    assert check(a_line(url="/chat/completions"), urls=AZURE_URLS).is_good
    assert check(a_line(), urls=AZURE_URLS).is_good


def test_blank_lines_are_harmless_at_the_end_alone():
    assert check(a_line("a"), b"\n", b"  \n").is_good
    assert found(a_line("a"), b"\n", a_line("b")) == [("malformed_line", 2)]


def test_a_file_without_lines_is_empty():
    assert found() == [("empty_file", None)]
    assert found(b"\n\n") == [("empty_file", None)]


def test_a_byte_order_mark_is_no_part_of_the_first_line():
    assert check(b"\xef\xbb\xbf" + a_line()).is_good


def test_too_many_lines_and_too_many_bytes_are_found_without_reading_on():
    assert found(a_line("a"), a_line("b"), a_line("a"), max_lines=2) == [("too_many_lines", None)]
    assert found(a_line("a"), max_bytes=10) == [("too_large", None)]


def test_all_findings_are_counted_and_the_first_ones_kept():
    seen = check(*[b"no\n"] * 30, most_findings=5)
    assert [one.line for one in seen.findings] == [1, 2, 3, 4, 5]
    assert seen.findings_count == 30


def test_tokens_of_messages_parts_and_inputs_are_counted():
    parts = [{"type": "text", "text": "three more words"}, {"type": "image_url", "image_url": {}}]
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": parts}]
    lines = [
        a_line("a", body={"model": "gpt-4o", "messages": messages}),
        a_line("b", body={"model": "gpt-4o", "input": ["one", "and two"]}),
    ]
    found = check(*lines, count=lambda text, _: len(text.split()))
    assert found.prompt_tokens == found.likely_tokens == 8 + 765  # an image of unknown size


def test_tokens_that_are_not_counted_are_estimated_without_the_bytes_of_pictures():
    url = {"url": f"data:image/png;base64,{'A' * 400_000}"}
    parts = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": url}]
    line = a_line("a", body={"model": "gpt-4o", "messages": [{"role": "user", "content": parts}]})
    found = check(line)
    assert found.prompt_tokens is None
    assert 765 < found.likely_tokens < 765 + 100


@given(st.lists(st.binary() | st.just(b"\n") | st.just(a_line())))
def test_any_bytes_are_judged_and_every_finding_has_a_line_of_the_file(pieces):
    content = b"".join(pieces)
    seen = check_file(io.BytesIO(content))
    assert seen.is_good == (seen.findings_count == 0)
    assert all(1 <= (one.line or 1) <= content.count(b"\n") + 1 for one in seen.findings)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_is_told_by_its_name(encoding):
    [finding] = check(a_line().decode().encode(encoding)).findings
    assert (finding.code, finding.line) == ("wrong_encoding", None)
    assert encoding[:6].upper() in finding.message


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\ud83d"}',
        b'{"a":"\\uDE00\\uD83D"}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_providers_do_not_take_for_json_is_refused(text):
    assert found(a_line("a"), text + b"\n") == [("malformed_line", 2)]


@pytest.mark.parametrize("text", [b'{"a":"\xff"}\n', b'{"a":"\xed\xa0\xbd"}\n'])
def test_bytes_that_are_not_utf_8_are_refused(text):
    [finding] = check(a_line("a"), text).findings
    assert (finding.code, finding.line) == ("malformed_line", 2)
    assert "UTF-8" in finding.message


def test_both_halves_of_a_character_are_one():
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "\U0001f600"}]}
    assert b"\\ud83d\\ude00" in a_line(body=body)
    assert check(a_line(body=body)).is_good


def embed(custom_id, given):
    body = {"model": "e", "input": given}
    return a_line(custom_id, url="/v1/embeddings", body=body)


def test_inputs_of_embeddings_are_counted():
    assert check(embed("a", ["x"] * 2_048), embed("b", [1] * 3_000)).is_good
    assert found(embed("a", ["x"] * 2_049)) == [("too_many_inputs", 1)]
    many = [embed(str(n), [[1], [2]] * 1_000) for n in range(25)]
    assert check(*many).is_good
    assert found(*many, embed("more", "x")) == [("too_many_inputs", None)]
