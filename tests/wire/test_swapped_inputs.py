"""What takes an input's place after the scan holds nobody up: its file fails, with the reason."""

import os
import socket

import pytest
from wire_fixture import Ask

from openai_parallel_toolkit import UsageError
from openai_parallel_toolkit.api.prompts.files import PromptsFile
from openai_parallel_toolkit.api.prompts.lines import Defaults
from openai_parallel_toolkit.core.errors import ScanError
from openai_parallel_toolkit.files.stores import open_store


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(os.path.dirname(path))  # its name may not be long
        listener.bind(os.path.basename(path))


SWAPS = {
    "FIFO": os.mkfifo,
    "link to a device": lambda path: os.symlink("/dev/zero", path),
    "link to a FIFO": lambda path: (os.mkfifo(f"{path}.fifo"), os.symlink(f"{path}.fifo", path)),
    "socket": a_socket,
    "folder": os.mkdir,
}


class Swapping(Ask):
    """The hook of the first file puts something else in the second one's place."""

    swap = staticmethod(os.mkfifo)

    def process_input(self, file):
        if file.name.endswith("f000.txt"):
            victim = file.name.replace("f000", "f001")
            os.unlink(victim)
            self.swap(victim)
        return file.read()


@pytest.mark.parametrize("what", SWAPS)
def test_what_is_no_file_any_more_fails_alone(fixture, what, monkeypatch):
    monkeypatch.chdir(fixture.root)
    sim = fixture.simulate()

    class Here(Swapping):
        swap = staticmethod(SWAPS[what])

    summary = fixture.inputs(3).configure(sim).run(Here, num_threads=1)
    assert (summary.done, summary.failed, summary.left) == (2, 1, 0)
    (line,) = fixture.failures(summary)
    assert (line["file"], line["kind"]) == ("f001.txt", "ScanError")
    assert "no ordinary file" in line["message"]
    assert sim.ledger.hits() == 2


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("size", [-1, 1_000_000])
def test_an_input_that_grows_without_end_is_read_to_a_bound(fixture, binary, size):
    sim = fixture.simulate()

    class Endless(Ask):
        def process_input(self, file):
            os.truncate(file.name, 1 << 40)
            found = 0
            while part := file.read(size):
                found += len(part)
                assert found < 1 << 30
            return "whole"

    summary = fixture.inputs(1).configure(sim).run(Endless, binary=binary)
    (line,) = fixture.failures(summary)
    assert (line["file"], line["kind"]) == ("f000.txt", "ScanError")
    assert "grows while it is read" in line["message"]
    assert sim.ledger.hits() == 0


@pytest.mark.parametrize("what", SWAPS)
def test_stores_and_files_of_prompts_open_nothing_else_either(tmp_path, what, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SWAPS[what](str(tmp_path / "a"))
    store = open_store(tmp_path)
    for use in (lambda: store.open("a"), lambda: store._copy_to("a", str(tmp_path / "b"))):
        with pytest.raises(ScanError, match="no ordinary file"):
            use()
    with pytest.raises(UsageError, match="no ordinary file"):
        PromptsFile(str(tmp_path / "a"), Defaults(model="gpt", path="/chat/completions"))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_hooks_get_what_open_would_have_given(fixture, newline):
    """The same text, name and mode; line by line, in parts and again from the start."""
    text = newline.join(["first", "sécond", "third", ""] * 30_000)
    seen = []

    class Reads(Ask):
        def process_input(self, file):
            with open(file.name, encoding="utf-8") as other:
                assert (file.name, file.mode, file.encoding) == (other.name, "r", other.encoding)
                assert [file.readline(), file.read(7)] == [other.readline(), other.read(7)]
                assert file.tell() == other.tell()
                assert file.read() == other.read()
                file.seek(0), other.seek(0)
                assert list(file) == list(other)
            seen.append(file.name)
            return "short"

    fixture.configure(fixture.simulate())
    (fixture.input / "a.txt").write_bytes(text.encode())
    assert fixture.run(Reads).done == len(seen) == 1
