"""A BatchFolder at aimock: each outcome of a batch, chaos on the wire, and nothing left behind."""

import json

import pytest
from servers import Aimock

from openai_parallel_toolkit.api.batch_folder import BatchFolder, Pace

QUICK = Pace(first_poll_s=0.02, longest_poll_s=0.1, patience_s=20.0)
FILES, LINES = 6, 4


class Folder:
    """Inputs, results and errors below one path, and the config to work on them."""

    def __init__(self, root):
        self.root = root
        for n in range(FILES):
            path = root / "in" / f"d{n % 2}" / f"f{n}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(line(f"{n}-{m}") for m in range(LINES)))

    def run(self, url, key=Aimock.KEYS[0], **settings):
        config = self.root / "config.json"
        config.write_text(json.dumps({"api_keys": [key], "api_base": url}))
        config.chmod(0o600)
        places = [self.root / name for name in ("in", "out", "err")]
        return BatchFolder(
            config, *places, progress=False, fail_on_error=False, pace=QUICK, **settings
        ).run()

    def answers(self):
        found = [
            json.loads(text)["custom_id"]
            for path in (self.root / "out").rglob("*_output.jsonl")
            for text in path.read_text().splitlines()
        ]
        return sorted(found)


def line(custom_id):
    message = {"role": "user", "content": f"text {custom_id}"}
    body = {"model": "gpt-4o-mini", "messages": [message]}
    url = "/v1/chat/completions"
    told = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    return json.dumps(told) + "\n"


ALL = sorted(f"{n}-{m}" for n in range(FILES) for m in range(LINES))


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_a_folder_is_answered_and_nothing_is_left(folder, aimock):
    summary = folder.run(aimock.url)
    assert (summary.done, summary.failed, summary.lines_answered) == (FILES, 0, FILES * LINES)
    assert folder.answers() == ALL
    assert aimock.kept("files") == []


@pytest.mark.parametrize("outcome", ["expired", "cancelled", "failed"])
def test_batches_that_never_succeed_end_at_the_error_location(folder, aimock, outcome):
    summary = folder.run(aimock.url_for(outcome), max_attempts=2)
    assert (summary.done, summary.failed, summary.left) == (0, FILES, 0)
    assert len(list((folder.root / "err").rglob("*_error.jsonl"))) == FILES
    assert len(aimock.kept("batches")) == FILES * 2
    assert aimock.kept("files") == []


def test_chaos_loses_no_line_and_asks_none_twice(folder, aimock):
    aimock.chaos(dropRate=0.08, malformedRate=0.06, disconnectRate=0.06)
    for _ in range(4):
        if folder.run(aimock.url).left == 0:
            break
    aimock.chaos()
    assert folder.answers() == ALL
    assert len(aimock.kept("batches")) == FILES
    assert aimock.kept("files") == []
