"""After a power cut at any point, with any legal loss of what was not synced, nothing is half."""

import itertools
import os
import random
import shutil

import pytest
from work_fakes import FakeJournal, RecordingFiles
from work_fixture import WorkFixture

from openai_parallel_toolkit.core.records import FileState

HOOKS = {
    "a.txt": {".json": "text of a"},
    "sub/new/b.txt": {".json": "text of b", ".md": "more of b", "/deep/part": "part of b"},
    "sub/new/c.txt": {".json": "text of c"},
    "quiet.txt": {},
}
WANTED = {
    "a.json": "text of a",
    "sub/new/b.json": "text of b",
    "sub/new/b.md": "more of b",
    "sub/new/b/deep/part": "part of b",
    "sub/new/c.json": "text of c",
}
WORLDS_PER_CUT = 48


def record(root, files_of=RecordingFiles):
    """Publish everything; return the log of what was done, with paths below `root`."""
    log = []
    work = WorkFixture(root, FakeJournal(log=log), files_of(log))
    work.write_inputs(*HOOKS)
    finished = [work.run_hook(path, outputs) for path, outputs in HOOKS.items()]
    for file in finished:
        for output in file.outputs:
            place = work.staging.path_of(output)
            with open(place) as written:
                log.append(("write", place, written.read()))
    work.publish(*finished)
    assert work.failed == {}
    return [tuple(_below(root, part) for part in entry) for entry in log]


def _below(root, part):
    is_path = isinstance(part, str) and part.startswith(str(root))
    return os.path.relpath(part, root) if is_path else part


def fates(log, index):
    """What a power cut may make of entry `index`, when the log is all that happened."""
    kind, *args = log[index]
    later = log[index + 1 :]
    if kind == "write":
        return ["kept"] if ("sync", args[0]) in later else ["kept", "torn", "lost"]
    if kind in ("mkdir", "move"):
        synced = ("sync_folder", os.path.dirname(args[-1]) or ".") in later
        return ["kept"] if synced else ["kept", "undone", "lost"]
    return ["kept"]


def world(log, chosen):
    """Return the files that are left, path -> text, and the folders."""
    files, folders = {}, {"in", "out"}
    for entry, fate in zip(log, chosen, strict=True):
        kind, *args = entry
        if kind == "write" and fate != "lost":
            files[args[0]] = args[1] if fate == "kept" else ""
        elif kind == "mkdir" and fate == "kept":
            folders.add(args[0])
        elif kind == "move" and args[0] in files and fate != "undone":
            text = files.pop(args[0])
            if fate == "kept" and os.path.dirname(args[1]) in folders:
                files[args[1]] = text
    return files


def cuts(log):
    choice = random.Random(7)
    for length in range(len(log) + 1):
        past = log[:length]
        options = [fates(past, index) for index in range(length)]
        count = 1
        for option in options:
            count *= len(option)
        if count <= WORLDS_PER_CUT:
            yield from ((past, chosen) for chosen in itertools.product(*options))
        else:
            for _ in range(WORLDS_PER_CUT):
                yield past, [choice.choice(option) for option in options]


def violations(log):
    """Say what is wrong right after each cut, before anything was mended."""
    for past, chosen in cuts(log):
        files = world(past, chosen)
        journal = journal_of(past)
        for path, text in files.items():
            if path.startswith("out/") and "/." not in path and text != WANTED[path[4:]]:
                yield f"{path} is not whole"
        for file_id, state in journal.states.items():
            if state is FileState.DONE:
                for final in journal.finals.get(file_id, ()):
                    if files.get(f"out/{final}") != WANTED[final]:
                        yield f"{final} is recorded as done without its bytes"


def journal_of(past):
    journal = FakeJournal()
    for kind, what, value in (entry for entry in past if entry[0] in ("id", "intent", "done")):
        journal._apply(kind, what, value)
    return journal


def test_nothing_is_done_or_visible_without_its_bytes(tmp_path):
    assert not set(violations(record(tmp_path)))


class NoSync(RecordingFiles):
    def sync(self, path):
        pass


class NoFolderSync(RecordingFiles):
    def sync_folder(self, folder):
        pass


@pytest.mark.parametrize("files_of", [NoSync, NoFolderSync])
def test_the_check_itself_sees_a_missing_sync(tmp_path, files_of):
    assert set(violations(record(tmp_path, files_of)))


def test_the_next_run_finishes_whatever_a_cut_left(tmp_path):
    log = record(tmp_path / "first")
    for number, (past, chosen) in enumerate(cuts(log)):
        if number % 5:
            continue
        root = tmp_path / "again"
        for path, text in world(past, chosen).items():
            os.makedirs(os.path.dirname(root / path), exist_ok=True)
            (root / path).write_text(text)
        work = WorkFixture(root, journal_of(past))
        work.write_inputs(*HOOKS)
        work.roll_forward()
        assert os.listdir(work.staging.root) == []
        due = work.due()
        work.publish(*(work.run_hook(path, HOOKS[path]) for path in due))
        assert work.failed == {}
        assert {path: work.read_output(path) for path in work.outputs()} == WANTED
        assert work.journal.open_intents == {}
        shutil.rmtree(root)


def test_rolling_forward_twice_is_the_same_as_once(tmp_path):
    work = WorkFixture(tmp_path)
    file = work.run_hook("a.txt", {".json": "1", ".md": "2"})
    work.journal.intent(file.file_id, file.outputs, lambda error: None)
    os.rename(work.staging.path_of(file.outputs[0]), os.path.join(work.output, "a.json"))
    again = FakeJournal()
    again.__dict__.update(
        {k: dict(v) for k, v in work.journal.__dict__.items() if isinstance(v, dict)}
    )
    assert work.roll_forward().done == ("a.txt",)
    work.journal = again
    assert work.roll_forward().done == ("a.txt",)
    assert work.outputs() == ["a.json", "a.md"]


def test_rolling_forward_trusts_nothing_to_have_reached_the_disk(tmp_path):
    """The dead process may have made folders, written and moved without a sync."""
    log = []
    work = WorkFixture(tmp_path, FakeJournal(log=log), RecordingFiles(log))
    file = work.run_hook("sub/new/a.txt", {".json": "1", ".md": "2"})
    work.journal.intent(file.file_id, file.outputs, lambda error: None)
    moved = os.path.join(work.output, "sub/new/a.json")
    os.makedirs(os.path.dirname(moved))
    os.rename(work.staging.path_of(file.outputs[0]), moved)
    del log[:]
    work.roll_forward()
    staged = work.staging.path_of(file.outputs[1])
    assert log.index(("sync", staged)) < log.index(
        ("move", staged, os.path.join(work.output, "sub/new/a.md"))
    )
    places = (work.output, os.path.join(work.output, "sub"), os.path.dirname(moved))
    folders = {("sync_folder", place) for place in places}
    assert {("sync", moved), *folders} <= set(log[:-1])
    assert log[-1][0] == "done"
    assert log[-2] == ("sync_folder", os.path.dirname(moved))


def test_outputs_that_do_not_have_their_hash_are_not_taken(tmp_path):
    work = WorkFixture(tmp_path)
    file = work.run_hook("a.txt", {".json": "12345"})
    work.journal.intent(file.file_id, file.outputs, lambda error: None)
    with open(work.staging.path_of(file.outputs[0]), "w") as staged:
        staged.write("\0" * 5)
    rolled = work.roll_forward()
    assert (rolled.done, rolled.again) == ((), ("a.txt",))
    assert work.outputs() == []
    work.write_inputs("a.txt")
    assert work.due() == ["a.txt"]
