"""Links that were planted among the toolkit's own files lead nowhere; folders are kept private."""

import ast
import os
import re
import stat
from pathlib import Path

import pytest

from openai_parallel_toolkit import (
    APIKeyManager,
    FakeTransport,
    Gpt35Turbo,
    ParallelToolkit,
    StorageError,
    request_openai_api,
)
from openai_parallel_toolkit.core.own_files import kept_file, part_from_others, private_folder
from openai_parallel_toolkit.journal import Journal, JournalReader

PACKAGE = Path(__file__).parents[2] / "openai_parallel_toolkit"
#: Begun anew by each run.
REPLACED = [
    "open-files", "run.json", "run.json.part", "failures.jsonl", "probe"
]  # fmt: skip
#: Gone on with, so that a link is a reason to stop.
REFUSED = [
    "run.lock",
    "reserve",
    "journal.sqlite3",
    "journal.sqlite3-wal",
    "journal.sqlite3-shm",
    "staging",
]


class Ask(ParallelToolkit):
    """Its second file fails, so that failures are listed as well."""

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        if data == "1":
            raise ValueError("no good")
        return request_openai_api(Gpt35Turbo(content=data))

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".txt", "w") as out:
            out.write(data)


class Places:
    def __init__(self, root):
        self.root, self.state = root, root / "out" / ".openai_parallel_toolkit"
        self.state.mkdir(parents=True, mode=0o700)
        (root / "in").mkdir()
        for name in "01":
            (root / "in" / name).write_text(name)
        self.victim, self.folder = root / "victim", root / "precious"
        self.victim.write_text("precious")
        self.folder.mkdir()
        (self.folder / "kept").touch()

    def plant(self, name, how):
        target = self.folder if how == "folder" else self.victim
        (os.link if how == "hard" else os.symlink)(target, self.state / name)

    def run(self):
        keys = APIKeyManager(["any-text"])
        send = FakeTransport(lambda request, lease: "answer")
        given = {
            "key_manager": keys,
            "transport": send,
            "progress": False,
            "fail_on_error": False,
        }
        try:
            return Ask(None, self.root / "in", self.root / "out", **given).run()
        finally:
            keys.close()

    def assert_unharmed(self):
        assert self.victim.read_text() == "precious"
        assert stat.S_IMODE(self.victim.stat().st_mode) != 0o600
        assert os.listdir(self.folder) == ["kept"]


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path)


@pytest.mark.parametrize("how", ["symbolic", "hard", "folder"])
def test_links_in_place_of_what_is_begun_anew_are_replaced(places, how):
    for name in REPLACED:
        places.plant(name, how)
    summary = places.run()
    assert (summary.done, summary.failed) == (1, 1)
    places.assert_unharmed()
    links = [path.name for path in places.state.iterdir() if path.is_symlink()]
    assert links in ([], ["probe"]), "which is made when the disk is full"


@pytest.mark.parametrize("how", ["symbolic", "folder"])
@pytest.mark.parametrize("name", REFUSED)
def test_links_in_place_of_what_is_gone_on_with_stop_the_run(places, name, how):
    places.plant(name, how)
    with pytest.raises(StorageError) as caught:
        places.run()
    assert str(places.state / name) in str(caught.value)
    places.assert_unharmed()


@pytest.mark.parametrize(
    "name", ["run.lock", "reserve", "journal.sqlite3-wal", "journal.sqlite3-shm"]
)
def test_hard_links_in_place_of_what_is_gone_on_with_are_cut(places, name):
    places.plant(name, "hard")
    assert places.run().done == 1
    places.assert_unharmed()


def test_a_copy_of_hard_links_does_not_change_with_the_journal(places):
    """As `cp -al` makes it."""
    places.run()
    copy = places.root / "copy"
    os.link(places.state / "journal.sqlite3", copy)
    before = copy.read_bytes()
    (places.root / "in" / "2").write_text("2")
    assert places.run().done == 1
    assert copy.read_bytes() == before
    with JournalReader(str(places.state)) as journal:
        assert sum(journal.status().files.values()) == 3


@pytest.mark.parametrize("name", ["journal.sqlite3-wal", "journal.sqlite3-shm"])
def test_reading_commands_follow_no_link_either(places, name):
    places.run()
    (places.state / name).unlink(missing_ok=True)
    places.plant(name, "symbolic")
    with pytest.raises(StorageError):
        JournalReader(str(places.state))
    places.assert_unharmed()


def test_what_is_kept_is_kept_when_it_is_ours_alone(tmp_path):
    path = tmp_path / "open-files"
    path.write_text("content")
    os.close(kept_file(str(path)))
    assert path.read_text() == "content"
    path.unlink()
    os.mkfifo(path)
    os.close(kept_file(str(path)))
    assert path.read_bytes() == b""
    part_from_others(str(tmp_path / "nothing"))


# Who may write to a private folder


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o770, 0o702])
def test_a_state_folder_that_others_may_write_to_is_closed_to_them(places, mode):
    places.state.chmod(mode)
    places.run()
    assert stat.S_IMODE(places.state.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_one_that_holds_what_is_not_ours_is_refused_and_left_as_it_is(tmp_path, mode):
    (tmp_path / "somebody's").touch()
    tmp_path.chmod(mode)
    with pytest.raises(StorageError, match=r"written to by others.*state_path"):
        private_folder(str(tmp_path))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_one_of_another_user_is_refused(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    os.chown(folder, 54_321, 54_321)
    with pytest.raises(StorageError, match="belongs to the user 54321"):
        Journal.open(private_folder(str(folder)))
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    os.chown(link, 54_321, 54_321, follow_symlinks=False)
    with pytest.raises(StorageError, match="is a link"):
        private_folder(str(link), may_be_link=True)


def test_a_link_of_the_user_s_own_may_lead_to_the_state_folder(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "disk")
    assert private_folder(str(tmp_path / "state"), may_be_link=True)
    with pytest.raises(StorageError, match="is a link"):
        private_folder(str(tmp_path / "state"))


# The rule


def written_places():
    """Where the package opens a file to write to it, by file and line."""
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        if room in ("simulator", "cli"):  # apart, and the demo's own folder
            continue
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text if re.search(r"\bopen\(|write_", text) else "")):
            if isinstance(node, ast.Call) and _name_of(node.func).startswith(("open", "write_")):
                yield path.relative_to(PACKAGE), node


def _name_of(function):
    return getattr(function, "id", "") or getattr(function, "attr", "")


def is_unsafe(call):
    """Whether a call may write through a link: it neither says how it opens nor has a new file."""
    name = ast.unparse(call.func)
    if name.endswith((".write_text", ".write_bytes")):
        return True
    if name == "os.open":
        flags = ast.unparse(call.args[1])
        return "O_CREAT" in flags and "O_EXCL" not in flags and "O_NOFOLLOW" not in flags
    if name != "open" or len(call.args) < 2:
        return False
    mode = ast.unparse(call.args[1])
    is_writing = any(sign in mode for sign in "wax+")
    return (
        is_writing
        and ast.unparse(call.args[0]) not in ("part", "descriptor", "local_path")
        and ("opener" not in {keyword.arg for keyword in call.keywords})
    )


def test_no_file_is_opened_for_writing_in_a_way_that_follows_links():
    """What is called `part` was just made; stores copy to a folder of their own."""
    assert [f"{path}:{call.lineno}" for path, call in written_places() if is_unsafe(call)] == []
