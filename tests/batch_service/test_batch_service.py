"""The Batch API client: what is sent, what is repeated, and what is told when it goes wrong."""

from __future__ import annotations

import asyncio
import os
import re
import tracemalloc
from random import Random

import pytest
from aiohttp import web
from fake_service import FakeService, cut_off, refuse

from openai_parallel_toolkit.batch.options import Patience, Waiting
from openai_parallel_toolkit.batch.service import BatchIssue, BatchService, ServiceRefusal
from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.core.errors import StorageError
from openai_parallel_toolkit.core.records import Lease, Need, OutcomeKind
from openai_parallel_toolkit.core.redaction import Secret
from openai_parallel_toolkit.transport import SendFault
from openai_parallel_toolkit.transport.http import HttpTransport

KEY = "sk-abcdefghijklmnop"


@pytest.fixture
def server():
    with FakeService() as server:
        yield server


class ServiceFixture:
    """Runs one service on a clock that its own pauses turn."""

    def __init__(self, base, **azure):
        self.clock = FakeClock()
        self.pauses = []
        need = Need(model="gpt-4o", tokens=0)
        self.lease = Lease(
            id=1,
            key_name="key-1",
            secret=Secret(KEY, "key-1"),
            api_base=base,
            need=need,
            since_s=0.0,
            **azure,
        )

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        self.clock.advance(seconds)

    def do(self, work):
        async def go():
            transport = HttpTransport()
            waiting = Waiting(
                patience=Patience(), clock=self.clock, chance=Random(1), pause=self.sleep
            )
            service = BatchService(transport, self.lease, waiting)
            try:
                return await work(service)
            finally:
                await transport.close()

        return asyncio.run(go())


@pytest.fixture
def fixture(server):
    return ServiceFixture(f"{server.url}/v1")


# --- what goes out ---------------------------------------------------------------------------


def test_an_upload_is_a_form_with_purpose_name_and_content(server, fixture, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"a":1}\n')
    file = fixture.do(lambda s: s.upload('my "file" \u00fc.jsonl', str(path)))
    assert (file.id, file.size_bytes, file.status) == ("file-1", 8, "processed")
    assert server.contents["file-1"] == b'{"a":1}\n'
    assert server.files["file-1"]["purpose"] == "batch"
    [(_, _, headers, _)] = server.asked
    assert "transfer-encoding" not in headers
    assert headers["authorization"] == f"Bearer {KEY}"


def test_an_upload_and_a_download_of_many_bytes_pass_through_little_memory(
    server, fixture, tmp_path
):
    path, back = str(tmp_path / "big"), str(tmp_path / "back")
    with open(path, "wb") as file:
        file.truncate(30_000_000)
    server.contents["file-1"] = b'{"n":7}\n' * 3_750_000

    async def both(service):
        tracemalloc.start()
        size = await service.download("file-1", back)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        await service.upload("big", path)
        return size, peak

    size, peak = fixture.do(both)
    assert size == os.path.getsize(back) == 30_000_000
    assert len(server.contents["file-1"]) == 30_000_000
    assert peak < 10_000_000


def test_azure_is_asked_with_its_version_below_no_deployment(server):
    fixture = ServiceFixture(
        f"{server.url}/openai", azure_deployment="gpt", api_version="2024-10-21"
    )

    async def ask(service):
        await service.import_file("in.jsonl", "https://store/in.jsonl")
        await service.files()
        await service.create("file-1", "/chat/completions", metadata={"a": "b"})

    fixture.do(ask)
    paths = [path for _, path, _, _ in server.asked]
    assert paths == [
        "/openai/files/import?api-version=2024-10-21",
        "/openai/files?api-version=2024-10-21&purpose=batch",
        "/openai/batches?api-version=2024-10-21",
    ]
    assert all(headers["api-key"] == KEY for _, _, headers, _ in server.asked)
    assert server.files["file-1"]["status"] == "pending"


def test_lists_are_read_to_their_last_page(server, fixture):
    for number in range(5):
        server.add_file(f"{number}.jsonl", b"")
        server.batches[f"b{number}"] = {"id": f"b{number}", "status": "in_progress"}

    async def both(service):
        return await service.files(), [b async for b in service.batches()]

    files, batches = fixture.do(both)
    assert [file.name for file in files] == [f"{n}.jsonl" for n in range(5)]
    assert [batch.id for batch in batches] == ["b4", "b3", "b2", "b1", "b0"]


def test_a_batch_is_read_with_its_counts_times_and_errors(server, fixture):
    server.batches["b"] = {
        "id": "b",
        "status": "failed",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-1",
        "output_file_id": None,
        "request_counts": {"total": 3, "completed": 1, "failed": 2},
        "metadata": {"run": "7", "odd": 5},
        "created_at": 10,
        "failed_at": 20,
        "errors": {
            "object": "list",
            "data": [{"code": "bad", "message": "no", "line": 3, "param": "url"}],
        },
    }
    batch = fixture.do(lambda s: s.batch("b"))
    assert batch.is_over
    assert (batch.total, batch.completed, batch.failed) == (3, 1, 2)
    assert (batch.created_wall_s, batch.ended_wall_s) == (10.0, 20.0)
    assert batch.metadata == {"run": "7"}
    assert batch.errors == (BatchIssue(code="bad", message="no", line=3, param="url"),)
    assert batch.output_file_id is None


# --- what is repeated ------------------------------------------------------------------------


def test_reads_are_repeated_after_a_limit_an_overload_and_a_lost_reply(server, fixture):
    server.add_file("a", b"")
    retry = refuse(429, "rate_limit_exceeded", {"retry-after": "7"})
    server.instead += [retry, refuse(503, "overloaded"), cut_off]
    assert fixture.do(lambda s: s.file("file-1")).name == "a"
    assert len(server.asked) == 4
    assert fixture.pauses[0] == 7.0
    assert all(pause <= 4 for pause in fixture.pauses[1:])


async def page_of_a_gateway(request):
    return web.Response(text="<html>Please wait</html>", content_type="text/html")


def test_a_deletion_that_is_answered_with_something_else_is_repeated(server, fixture):
    server.add_file("a", b"")
    server.instead.append(page_of_a_gateway)
    fixture.do(lambda s: s.delete("file-1"))
    assert len(server.asked) == 2
    assert server.files == {}


def test_a_read_gives_up_after_ten_minutes_with_what_was_wrong(server, fixture):
    server.instead += [refuse(503, "overloaded")] * 1000
    with pytest.raises(ServiceRefusal) as caught:
        fixture.do(lambda s: s.file("file-1"))
    assert caught.value.outcome.kind is OutcomeKind.BUSY
    assert 500 < sum(fixture.pauses) <= 600


def test_what_makes_something_is_sent_once(server, fixture, tmp_path):
    (tmp_path / "f").write_bytes(b"{}\n")
    for make in (
        lambda s: s.upload("f", str(tmp_path / "f")),
        lambda s: s.import_file("f", "https://store/f"),
        lambda s: s.create("file-1", "/v1/chat/completions", metadata={}),
    ):
        before = len(server.asked)
        server.instead.append(refuse(503, "overloaded"))
        with pytest.raises(ServiceRefusal):
            fixture.do(make)
        server.instead.append(cut_off)
        with pytest.raises(SendFault) as caught:
            fixture.do(make)
        assert caught.value.kind == "unknown"
        assert len(server.asked) == before + 2
    assert fixture.pauses == []


def test_a_refusal_is_not_repeated_and_says_what_it_means_for_the_key(server, fixture):
    server.instead.append(refuse(401, "invalid_api_key"))
    with pytest.raises(ServiceRefusal) as caught:
        fixture.do(lambda s: s.batch("b"))
    assert caught.value.outcome.kind is OutcomeKind.KEY_DEAD
    assert "invalid_api_key" in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_download_that_is_cut_is_begun_again_and_nothing_half_is_left(server, fixture, tmp_path):
    server.contents["file-1"] = b"{}\n"
    path = tmp_path / "out.jsonl"
    server.instead.append(cut_off)
    assert fixture.do(lambda s: s.download("file-1", str(path))) == 3
    assert path.read_bytes() == b"{}\n"
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_a_download_that_brings_a_page_instead_of_lines_is_begun_again(server, fixture, tmp_path):
    server.contents["file-1"] = b"{}\n"
    server.instead.append(page_of_a_gateway)
    assert fixture.do(lambda s: s.download("file-1", str(tmp_path / "out.jsonl"))) == 3
    assert (tmp_path / "out.jsonl").read_bytes() == b"{}\n"
    server.contents["file-1"] = b""
    assert fixture.do(lambda s: s.download("file-1", str(tmp_path / "out.jsonl"))) == 0


def test_a_download_that_is_refused_leaves_nothing(server, fixture, tmp_path):
    server.instead.append(refuse(404, "gone"))
    with pytest.raises(ServiceRefusal) as caught:
        fixture.do(lambda s: s.download("file-1", str(tmp_path / "out.jsonl")))
    assert caught.value.outcome.kind is OutcomeKind.NOT_HERE
    assert os.listdir(tmp_path) == []


def missing_file(param):
    async def answer(_):
        error = {"message": "Cannot find file file-1", "code": None, "param": param}
        return web.json_response({"error": error}, status=400)

    return answer


@pytest.mark.parametrize("what", ["file", "batch", "content"])
def test_what_was_just_made_and_is_not_seen_yet_is_looked_for(server, fixture, tmp_path, what):
    server.add_file("a", b"{}\n")
    server.batches["b"] = {"id": "b", "status": "completed"}
    server.instead += [refuse(404, "not_found")] * 4
    look = {
        "file": lambda s: s.file("file-1"),
        "batch": lambda s: s.batch("b"),
        "content": lambda s: s.download("file-1", str(tmp_path / "out")),
    }
    assert fixture.do(look[what])
    assert len(server.asked) == 5
    assert all(0.2 * 2**n <= pause <= 2**n for n, pause in enumerate(fixture.pauses))


@pytest.mark.parametrize("param", ["file_id", "input_file_id", None])
def test_a_batch_whose_file_is_not_seen_yet_is_asked_for_again(server, fixture, param):
    server.instead += [missing_file(param)] * 3
    assert fixture.do(lambda s: s.create("file-1", "/v1/embeddings", metadata={})).id == "batch-1"
    assert (len(server.asked), len(server.batches)) == (4, 1)


def test_an_id_is_believed_for_half_a_minute_and_no_longer(server, fixture):
    server.instead += [missing_file("file_id")] * 100
    with pytest.raises(ServiceRefusal) as caught:
        fixture.do(lambda s: s.create("file-1", "/v1/embeddings", metadata={}))
    assert caught.value.misses("file-1")
    assert 10 < sum(fixture.pauses) <= 30


def test_a_batch_that_is_over_is_looked_at_until_it_names_what_it_promises(server, fixture):
    counts = {"total": 1, "completed": 1, "failed": 0}
    server.batches["b"] = {"id": "b", "status": "completed", "request_counts": counts}
    looks = []

    async def ask(service):
        batch = await service.batch("b")
        sleep = fixture.sleep

        async def look_later(seconds):
            looks.append(seconds)
            if len(looks) == 3:
                server.batches["b"]["output_file_id"] = "file-1"
            await sleep(seconds)

        service._sleep = look_later
        return await service.whole_batch(batch)

    assert fixture.do(ask).output_file_id == "file-1"
    assert len(looks) == 3


def test_what_cannot_be_reached_says_so_and_until_when_it_is_tried(server, fixture):
    server.add_file("a", b"")
    server.instead.append(refuse(503, "overloaded"))
    words = []

    async def ask(service):
        words.append(service.waits)
        sleep = fixture.sleep

        async def look(seconds):
            words.append(service.waits)
            await sleep(seconds)

        service._sleep = look
        await service.file("file-1")
        words.append(service.waits)

    fixture.do(ask)
    assert (words[0], words[2]) == ("", "")
    assert "503" in words[1]
    assert re.search(r"tried until \d\d:\d\d:\d\d$", words[1])


def test_a_disk_that_refuses_is_told_as_such(server, fixture, tmp_path):
    server.contents["file-1"] = b"{}\n"
    with pytest.raises(StorageError):
        fixture.do(lambda s: s.download("file-1", str(tmp_path / "no" / "folder")))
    with pytest.raises(StorageError):
        fixture.do(lambda s: s.upload("f", str(tmp_path / "missing")))


def test_deleting_what_is_gone_is_fine(server, fixture):
    server.add_file("a", b"")
    fixture.do(lambda s: s.delete("file-1"))
    fixture.do(lambda s: s.delete("file-1"))
    assert server.files == {}


def test_cancelling_tells_how_the_batch_stands_even_when_it_is_over(server, fixture):
    server.batches["b"] = {"id": "b", "status": "in_progress"}
    server.batches["c"] = {"id": "c", "status": "completed"}
    assert fixture.do(lambda s: s.cancel("b")).status == "cancelling"
    assert fixture.do(lambda s: s.cancel("c")).status == "completed"


def test_a_reply_that_is_no_batch_is_no_answer(server, fixture):
    async def nonsense(_):
        return web.json_response({"object": "list"})

    server.instead.append(nonsense)
    with pytest.raises(ServiceRefusal) as caught:
        fixture.do(lambda s: s.create("file-1", "/v1/embeddings", metadata={}))
    assert caught.value.outcome.kind is OutcomeKind.UNKNOWN
