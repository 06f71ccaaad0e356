"""Vocabularies are found without a network, and what to do is said where they are not."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openai_parallel_toolkit.costs.tokens.vocabulary import encoding_for

REPOSITORY = Path(__file__).parents[2]
CL100K_FILE = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
O200K_FILE = "fb374d419588a4632f3f557e76b4b70aebbca790"
#: SHA-256 as tiktoken expects it.
SHA256 = {
    CL100K_FILE: "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    O200K_FILE: "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
#: A module that is None there cannot be imported, as if it were not installed.
NO_PACKAGES = "import sys; sys.modules['rs_bpe'] = sys.modules['llama_index'] = None"
ONLY_LLAMA = "import sys; sys.modules['rs_bpe'] = None"
COUNT = "from openai_parallel_toolkit import *; print(num_tokens_from_string('hello world', {!r}))"


def run(*lines, cache, path=""):
    """Run a script in a process that reaches no server and has its own tiktoken cache."""
    environment = {
        **os.environ,
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), str(path)])),
        "TIKTOKEN_CACHE_DIR": str(cache),
    }
    command = [sys.executable, "-c", "\n".join(lines)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=50, check=False
    )


@pytest.mark.parametrize(("model", "file"), [("gpt-4", CL100K_FILE), ("gpt-4o", O200K_FILE)])
def test_an_installed_package_gives_the_vocabulary_without_a_network(tmp_path, model, file):
    done = run(COUNT.format(model), cache=tmp_path / "new" / "cache")
    assert done.stdout == "2\n", done.stderr
    (written,) = (tmp_path / "new" / "cache").iterdir()
    assert written.name == file
    assert hashlib.sha256(written.read_bytes()).hexdigest() == SHA256[file]


def test_the_file_inside_llama_index_core_does_as_well(tmp_path):
    run(COUNT.format("gpt-4"), cache=tmp_path)
    inside = tmp_path / "site" / "llama_index" / "core" / "_static" / "tiktoken_cache"
    inside.mkdir(parents=True)
    (tmp_path / CL100K_FILE).rename(inside / CL100K_FILE)
    done = run(ONLY_LLAMA, COUNT.format("gpt-4"), cache=tmp_path, path=tmp_path / "site")
    assert done.stdout == "2\n", done.stderr
    assert (tmp_path / CL100K_FILE).exists()


def test_a_file_in_the_cache_needs_no_package(tmp_path):
    run(COUNT.format("gpt-4"), cache=tmp_path)
    done = run(NO_PACKAGES, COUNT.format("gpt-4"), cache=tmp_path)
    assert done.stdout == "2\n", done.stderr


def test_without_any_the_error_says_what_to_do(tmp_path):
    report = [
        "from openai_parallel_toolkit import ToolkitError, num_tokens_from_string",
        "try: num_tokens_from_string('a', 'gpt-4')",
        "except ToolkitError as error: print(error, error.file_name)",
    ]
    done = run(NO_PACKAGES, *report, cache=tmp_path)
    for word in ("offline", "TIKTOKEN_CACHE_DIR", CL100K_FILE, "https://", "cl100k_base"):
        assert word in done.stdout, done.stderr


def test_a_folder_that_cannot_be_made_is_told_in_the_same_words(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run(COUNT.format("gpt-4"), cache=tmp_path / "file" / "cache")
    assert done.returncode
    assert "VocabularyMissing" in done.stderr
    assert "TIKTOKEN_CACHE_DIR" in done.stderr


def test_a_vocabulary_is_loaded_once():
    assert encoding_for("gpt-4") is encoding_for("gpt-4")
