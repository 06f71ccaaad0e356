"""One odd file, one bad key and one wrong address: each costs what it must and no more."""

import json

import pytest
from provider_fixture import CHAT, provider
from wire_fixture import Ask

from openai_parallel_toolkit.core.errors import NoUsableKey

WORDS = "not with these words"
PAGE = "<!doctype html><html><title>Welcome</title></html>"
#: Refusals of one request, in the forms of several providers.
FLAGGED = {
    "moderation 403": (
        403,
        {"error": {"code": 403, "message": WORDS, "metadata": {"reasons": ["violence"]}}},
    ),
    "xai 403": (403, {"code": "permission-denied", "error": WORDS}),
    "gateway 403": (403, WORDS),
    "firewall 403": (403, PAGE),
    "filter 400": (400, {"error": {"code": "content_filter", "message": WORDS}}),
    "plain 400": (400, {"error": WORDS}),
    "gemini 400": (400, [{"error": {"code": 400, "message": WORDS, "status": "INVALID_ARGUMENT"}}]),
    "credit 402": (402, {"error": {"code": 402, "message": WORDS, "metadata": {}}}),
    "missing 404": (404, {"error": {"message": WORDS, "code": None}}),
    "too large 413": (413, {"detail": WORDS}),
    "form 422": (422, {"detail": [{"loc": ["body"], "msg": WORDS}]}),
}


def keys_of(*names):
    return [{"key": f"sk-value-of-{name}", "name": name} for name in names]


def fill(fixture, count, **odd):
    """Files t000 and on; `odd` gives some of them a text of their own."""
    for number in range(count):
        name = f"t{number:03}"
        (fixture.input / f"{name}.txt").write_text(odd.get(name, f"text {number}"))


@pytest.mark.parametrize("form", FLAGGED)
def test_one_flagged_file_among_many_costs_no_key_and_is_put_aside(fixture, form):
    def answer(key, body):
        return FLAGGED[form] if "FLAGGED" in body else (200, CHAT)

    fill(fixture, 40, t003="FLAGGED text")
    with provider(answer) as server:
        fixture.configure_at(server.url, keys_of("one", "two", "three"))
        for turn in range(2):
            summary = fixture.run(max_file_attempts=2)
            assert (summary.done, summary.failed) == (39 if turn == 0 else 0, 1)
            assert {key.state for key in summary.keys} == {"alive"}
            (line,) = fixture.failures(summary)
            assert (line["file"], line["kind"]) == ("t003.txt", "RequestRejected")
            assert (WORDS if form != "firewall 403" else "web page") in line["message"]
            assert server.hits(part="FLAGGED") <= 2 * (turn + 1)
        assert server.hits() == 39 + server.hits(part="FLAGGED")
        summary = fixture.run()
    assert (summary.done, summary.failed, summary.aside) == (0, 0, 1)
    with fixture.journal() as journal:
        assert WORDS in journal.file("t003.txt").failure.message or form == "firewall 403"


def test_a_providers_words_are_kept_without_the_key(fixture):
    fill(fixture, 1)
    with provider(lambda key, body: (403, {"error": f"{key} may not ask {key[:12]}"})) as server:
        summary = fixture.configure_at(server.url, keys_of("one")).run()
    (line,) = fixture.failures(summary)
    assert "may not ask" in line["message"]
    assert "sk-value-of-one" not in json.dumps(line)


@pytest.mark.parametrize("status", [400, 402, 403])
def test_a_key_that_refuses_all_without_a_reason_costs_no_file(fixture, status):
    def answer(key, body):
        return (status, {"error": "no"}) if key.endswith("bad") else (200, CHAT)

    fill(fixture, 60)
    with provider(answer) as server:
        summary = fixture.configure_at(server.url, keys_of("bad", "two", "three")).run(
            num_threads=6
        )
        assert (summary.done, summary.failed) == (60, 0)
        assert server.hits("bad") <= 8


@pytest.mark.parametrize("count", [1, 3])
def test_accounts_without_money_that_say_only_402_end_the_run(fixture, count):
    fill(fixture, 60)
    with provider(lambda key, body: (402, {"error": "pay first"})) as server:
        fixture.configure_at(server.url, keys_of(*"abc"[:count]))
        with pytest.raises(NoUsableKey, match="402"):
            fixture.run(num_threads=4)
        assert server.hits() <= 8 * count


class AskBig(Ask):
    def process_data(self, data):
        from openai_parallel_toolkit import ChatModel, request_openai_api

        return request_openai_api(
            ChatModel("big" if "BIG" in data else "gpt-3.5-turbo", content=data)
        )


@pytest.mark.parametrize(
    "refusal",
    [
        (403, {"error": {"code": "model_permission_blocked_org", "message": WORDS}}),
        (401, {"error": {"type": "key_model_access_denied", "code": "401", "message": WORDS}}),
        (403, {"error": WORDS}),
        (404, {"error": WORDS}),
    ],
)
def test_a_model_that_a_key_may_not_use_fails_only_the_files_that_need_it(fixture, refusal):
    def answer(key, body):
        return refusal if '"big"' in body else (200, CHAT)

    fill(fixture, 31, t004="BIG one", t017="BIG two")
    with provider(answer) as server:
        summary = fixture.configure_at(server.url, keys_of("one")).run(AskBig, num_threads=2)
    lines = fixture.failures(summary)
    assert (summary.done, {line["file"] for line in lines}) == (29, {"t004.txt", "t017.txt"})
    assert all(WORDS in line["message"] for line in lines)


NOWHERE = {
    "page 200": (200, PAGE),
    "page 404": (404, PAGE),
    "openai 404": (404, {"error": {"message": "Invalid URL (POST /chat/completions)"}}),
    "fastapi 404": (404, {"detail": "Not Found"}),
    "go 404": (404, "404 page not found"),
    "405": (405, {"detail": "Method Not Allowed"}),
}


@pytest.mark.parametrize("form", NOWHERE)
def test_a_wrong_base_url_stops_the_run_at_once_and_puts_no_file_aside(fixture, form):
    fill(fixture, 50)
    with provider(lambda key, body: NOWHERE[form]) as server:
        fixture.configure_at(server.url, keys_of("one"))
        for _ in range(2):
            with pytest.raises(NoUsableKey, match="check api_base") as caught:
                fixture.run(num_threads=4, max_file_attempts=1)
            summary = caught.value.summary
            assert (summary.done, summary.aside, summary.calls.unknown) == (0, 0, 0)
            assert all("api_base" in line["message"] for line in fixture.failures(summary))
            assert "does not exist" not in str(caught.value)
        assert server.hits() <= 2 * 6
        server.answer = lambda key, body: (200, CHAT)
        assert fixture.run().done == 50


def test_keys_with_another_base_url_do_the_work_of_one_that_has_a_page(fixture):
    fill(fixture, 40)
    with (
        provider(lambda key, body: (200, PAGE)) as page,
        provider(lambda key, body: (200, CHAT)) as api,
    ):
        wrong, right = keys_of("wrong", "right")
        fixture.configure_at(api.url, [{**wrong, "api_base": page.url}, right])
        summary = fixture.run(num_threads=4)
        assert (summary.done, summary.failed, summary.calls.unknown) == (40, 0, 0)
        assert page.hits() <= 5


def test_a_page_in_the_middle_of_a_run_is_an_answer_that_was_lost(fixture):
    def answer(key, body):
        return (200, PAGE) if len(server.seen) == 5 else (200, CHAT)

    fill(fixture, 20)
    with provider(answer) as server:
        summary = fixture.configure_at(server.url, keys_of("one")).run(num_threads=1)
        assert (summary.done, summary.calls.unknown, server.hits()) == (20, 1, 21)
