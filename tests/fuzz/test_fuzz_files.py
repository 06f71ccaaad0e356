"""Whatever lies on the disk: it is worked on, or an error of ours says what to do."""

import io
import json
import os
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from fuzzing import JSON, KEY, NAMES, TEXTS, WORDS, dumped, error_of, search, shows_key
from hostile import SPELLINGS
from hypothesis import strategies as st

from openai_parallel_toolkit import ParallelToolkit
from openai_parallel_toolkit.api.prompts import Defaults
from openai_parallel_toolkit.api.prompts.lines import read_line
from openai_parallel_toolkit.batch.service.check import check_file
from openai_parallel_toolkit.core.records import CallId, FailureNote, Outcome, OutcomeKind
from openai_parallel_toolkit.journal import Journal, JournalReader, repair
from openai_parallel_toolkit.keys.config import load_settings


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as path:
        yield Path(path)


def test_configurations(seconds, folder):
    # Base64 of what stands nowhere else is a name like any other.
    names = WORDS.filter(lambda word: word != SPELLINGS["base64"](KEY))
    keys = st.fixed_dictionaries(
        {"key": st.just(KEY)}, optional={"name": WORDS, "rpm": JSON}
    ) | st.fixed_dictionaries({"key": WORDS}, optional={"name": names, "rpm": JSON})
    configs = st.fixed_dictionaries(
        {"api_keys": st.lists(keys | st.just(KEY) | JSON, max_size=3) | JSON},
        optional={"api_base": WORDS, "proxy": WORDS, "prices": JSON},
    )

    def check(content):
        path = folder / "config.json"
        path.write_bytes(content)
        path.chmod(0o600)
        told = []

        def load():
            told.append(repr(load_settings("config.json", env={}, cwd=folder)))

        assert not shows_key(error_of(load), told)

    search(seconds, check, content=configs.map(dumped) | TEXTS)


def test_dotenv_files(seconds, folder):
    lines = st.builds(
        lambda name, mark, value: f"{name}{mark}{value}",
        st.sampled_from(("OPENAI_API_KEY", "export OPENAI_API_KEYS", "OPENAI_BASE_URL", "#", "")),
        st.sampled_from(("=", " = '", '="', ":", "")),
        WORDS,
    )

    def check(content):
        (folder / ".env").write_bytes(content)
        told = []

        def load():
            told.append(repr(load_settings(env={}, cwd=folder)))

        assert not shows_key(error_of(load), told)

    whole = st.lists(lines, max_size=4).map(
        lambda some: "\n".join(some).encode(errors="surrogatepass")
    )
    search(seconds, check, content=whole | st.binary(max_size=80))


def test_lines_of_prompts_and_batch_files(seconds):
    asked = st.dictionaries(NAMES, JSON, max_size=6)

    def check(line, number):
        found = read_line(number, line.replace(b"\n", b" "), Defaults(model="m"))
        assert found is None or (found.request is None) is (found.mistake is not None)
        check_file(io.BytesIO(line + b"\n" + line))

    search(seconds, check, line=asked.map(dumped) | TEXTS, number=st.integers(1, 3))


@pytest.fixture
def journal(folder):
    """The files of a journal in which a bit of everything has happened."""
    state = folder / "whole"
    state.mkdir()
    with closing(Journal.open(str(state))) as journal:
        journal.begin_run("v1")
        for name in ("a.txt", "b/c.txt", "d.txt"):
            file = journal.file(name)
            journal.opened(file.id)
            call = CallId(file_id=file.id, hash="ab" * 32)
            attempt = journal.claim(call, key_name="key-1", model="m", max_cost_usd=None)
            outcome = Outcome(kind=OutcomeKind.OK, status=200, request_id="r")
            journal.answered(attempt, call, outcome, b'{"choices": []}' * 50, None)
        journal.failed(file.id, FailureNote(kind="E", message="m"), max_file_attempts=3)
        journal.flush()
        for path in list(state.iterdir()):
            shutil.copy(path, folder / path.name)
    return {path.name: path.read_bytes() for path in folder.glob("journal.sqlite3*")}


def test_the_bytes_of_a_journal(seconds, folder, journal):
    names = st.sampled_from([name for name in journal if not name.endswith("-shm")])
    places = st.lists(
        st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=8)), max_size=4
    )

    def look(state):
        with JournalReader(state) as reader:
            reader.status()
            list(reader.failures())
            detail = reader.file("a.txt")
            for one in detail.attempts:
                if one.answer is not None:
                    one.answer.body()

    def work(state):
        with closing(Journal.open(state)) as opened:
            opened.begin_run("v2")
            file = opened.file("e.txt")
            opened.opened(file.id)
            opened.flush()

    def check(name, cut, places, has_wal):
        state = folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir()
        for one, content in journal.items():
            if one.endswith("-shm") or (one.endswith("-wal") and not has_wal):
                continue
            changed = bytearray(content)
            if one == name:
                for place, piece in places:
                    at = place % (len(changed) or 1)
                    changed[at : at + len(piece)] = piece
                changed = changed[: cut % (len(changed) + 1)] if cut else changed
            (state / one).write_bytes(changed)
        for act in (look, work, repair, look, work):
            error_of(lambda act=act: act(str(state)))

    cuts = st.just(0) | st.integers(1, 2**20)
    search(seconds, check, name=names, cut=cuts, places=places, has_wal=st.booleans())


class Copy(ParallelToolkit):
    """Asks nothing."""

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return data

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)


def test_names_of_files(seconds, folder):
    signs = st.binary(min_size=1, max_size=40).map(
        lambda raw: raw.replace(b"/", b"").replace(b"\0", b"")
    )
    words = WORDS.map(
        lambda word: word.replace("/", "").replace("\0", "").encode(errors="replace")[:200]
    )
    usable = (signs | words).filter(lambda name: name not in (b"", b".", b".."))

    def check(names):
        shutil.rmtree(folder, ignore_errors=True)
        source = os.fsencode(folder / "in")
        os.makedirs(source)
        for name in names:
            with open(os.path.join(source, name), "wb") as file:
                file.write(b"text")
        summaries = []
        toolkit = Copy(None, folder / "in", folder / "out", progress=False, key_manager=None)
        error = error_of(lambda: summaries.append(toolkit.run()))
        shown = {name for name in names if not name.startswith(b".")}
        if error is None:
            assert summaries[0].done + summaries[0].failed == len(shown)
        assert str(error).replace("\n", "").isprintable()

    search(seconds, check, names=st.lists(usable, min_size=1, max_size=4))
