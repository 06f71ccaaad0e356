"""No key shows in what batch mode writes: spool files, journal, logs, failures, file names."""

import base64
import logging
import secrets
import sqlite3

import pytest
from batch_fixture import start

from openai_parallel_toolkit import NoUsableKey
from openai_parallel_toolkit.simulator import BatchCourse, Fault, SimKey

#: Halves, because a text may be cut or masked in the middle.
HALVES = [f"sk-{secrets.token_hex(12)}", secrets.token_hex(12)]
KEY = "".join(HALVES)
FORMS = [form for half in HALVES for form in (half.encode(), base64.b64encode(half.encode()))]
ECHO = f"Incorrect API key provided: {KEY}. Authorization: Bearer {KEY}"


@pytest.fixture
def said(fixture, caplog):
    """Collects what is said; at the end nothing anywhere may hold the key."""
    caplog.set_level(logging.DEBUG)
    things = {}
    yield things
    things["log"] = caplog.text.encode()
    for path in fixture.root.rglob("*"):
        if path.is_file() and path != fixture.config:
            things[str(path)] = path.read_bytes()
        things[f"the name of {path}"] = str(path).encode()
    with sqlite3.connect(fixture.state / "journal.sqlite3") as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
            things[f"table {table}"] = repr(list(db.execute(f"SELECT * FROM {table}"))).encode()
    db.close()
    assert len(things) > 15
    assert [(name, form) for name, text in things.items() for form in FORMS if form in text] == []


def test_failures_of_every_kind_keep_the_key_to_themselves(fixture, said):
    faults = [
        Fault("400", marker="file 1:", path="#line", message=ECHO),
        Fault("500", marker="file 2:", path="#line", message=ECHO),
        Fault("500", marker="file 5:", path="#line", message=ECHO),
        Fault("503", path="/files", times=1, message=ECHO),
        Fault("400", path="/batches", times=1, at=range(2, 5), message=ECHO),
    ]
    sim = fixture.simulate(SimKey("good", value=KEY), faults=faults)
    sim.batch_controls.follow(
        BatchCourse("failed", message=ECHO), BatchCourse("expired", share=0.5), BatchCourse()
    )
    # One thread: the order of the files decides which of them meet a batch that fails.
    summary = (
        fixture.inputs(8)
        .configure(sim)
        .run(
            log_file=fixture.root / "toolkit.log",
            batch={"max_lines": 3},
            max_retries=2,
            num_threads=1,
        )
    )
    said["summary"] = repr((summary, str(summary), summary.as_dict())).encode()
    assert {"400", "500", "503"} <= {row.fault for row in sim.ledger.rows()}
    assert summary.failed >= 2
    assert (fixture.root / "toolkit.log").stat().st_size > 0


def test_a_dead_key_is_told_by_its_name(fixture, said):
    faults = [Fault("401", path="/files", message=ECHO)]
    sim = fixture.simulate(SimKey("good", value=KEY), faults=faults)
    with pytest.raises(NoUsableKey) as caught:
        fixture.inputs(3).configure(sim).run()
    said["error"] = repr((caught.value, str(caught.value), vars(caught.value))).encode()
    assert b"good" in said["error"]


@pytest.mark.parametrize("place", ["batch.uploading:1", "batch.downloaded:1"])
def test_files_on_their_way_hold_no_key_and_lie_in_a_folder_of_their_owners_alone(
    fixture, said, place
):
    sim = fixture.simulate(SimKey("good", value=KEY))
    fixture.inputs(4).configure(sim)
    with start(fixture, place=place) as child:
        said["stdout"], said["stderr"] = child.communicate(timeout=100)
    (spooled, *_) = (fixture.state / "batches").iterdir()
    assert spooled.stat().st_size > 0
    assert spooled.parent.stat().st_mode & 0o077 == 0


def test_what_goes_to_the_provider_holds_the_prompts_alone(fixture, said):
    sim = fixture.simulate(SimKey("good", value=KEY))
    fixture.inputs(2).configure(sim).run()
    for batch in sim.batches.batches():
        said[batch.id] = batch.input_file.content + repr(batch.metadata).encode()
        assert str(fixture.root).encode() not in said[batch.id]
        assert b"f000" not in said[batch.id], "the name of the input is nobody's business"
