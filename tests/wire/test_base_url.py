"""A base URL at which there is no API stops the run at the first call, and no file is to blame."""

import pytest
from provider_fixture import CHAT, provider

from openai_parallel_toolkit import NoUsableKey

PAGE = "<!doctype html><title>Welcome</title>"
NOTHING = {"error": {"message": "Invalid URL (POST /chat/completions)", "code": None}}


def at_base(fixture, url, *names):
    keys = [{"key": f"sk-{name}", "name": name} for name in names or ("key-1",)]
    return fixture.configure_at(url, keys)


@pytest.mark.parametrize("files", [1, 5])
def test_openais_own_words_for_a_base_without_v1(fixture, files):
    sim = fixture.simulate()
    fixture.inputs(files).configure(sim)
    at_base(fixture, sim.url.removesuffix("/v1"), "good")
    with pytest.raises(NoUsableKey, match=r"check api_base \(it usually ends in /v1\)"):
        fixture.run()
    with fixture.journal() as journal:
        assert list(journal.failures()) == []
    assert sim.ledger.billed() == 0
    fixture.configure(sim)
    assert fixture.run().done == files


@pytest.mark.parametrize(
    ("status", "told"), [(404, NOTHING), (404, PAGE), (405, "no"), (404, "Not Found"), (200, PAGE)]
)
def test_whatever_is_there_no_file_counts_as_failed(fixture, status, told):
    fixture.inputs(3)
    with provider(lambda key, body: (status, told)) as nobody:
        at_base(fixture, nobody.url.removesuffix("/v1"), "one", "two")
        with pytest.raises(NoUsableKey, match="check api_base"):
            fixture.run(num_threads=1)
        assert nobody.hits() <= 4
    with fixture.journal() as journal:
        assert list(journal.failures()) == []


def test_a_web_page_that_passes_stops_nothing(fixture):
    answers = iter([(200, PAGE)])
    fixture.inputs(3)
    with provider(lambda key, body: next(answers, (200, CHAT))) as behind:
        at_base(fixture, behind.url)
        assert fixture.run(num_threads=1).done == 3
        assert behind.hits() == 4
