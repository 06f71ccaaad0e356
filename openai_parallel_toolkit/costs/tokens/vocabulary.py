"""Find the vocabulary of a model without a download where that is possible.

tiktoken keeps vocabularies in a cache folder and downloads what is missing. What an installed
package carries is put there first; tiktoken checks the hash of whatever it finds.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.util
import os
import secrets
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import VocabularyMissing
from ...core.filesystem import atomic_file

if TYPE_CHECKING:
    from tiktoken import Encoding

#: For names that tiktoken does not know: models newer than it, deployments, other providers.
_NEWEST = "o200k_base"
#: Encodings that differ from another in special tokens alone, which count as plain text here.
_SAME_AS = {"gpt2": "r50k_base", "p50k_edit": "p50k_base", "o200k_harmony": "o200k_base"}
#: Source: tiktoken_ext/openai_public.py of tiktoken 0.14 (2026-11).
_URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
#: How many tokens rs-bpe holds of each; special tokens come after them.
_RS_BPE_TOKENS = {"cl100k_base": 100_256, "o200k_base": 199_998}


@cache
def encoding_for(model: str) -> Encoding:
    """Return tiktoken's encoding of a model; one for new models when the name is unknown."""
    import tiktoken

    name = encoding_name(model)
    folder = _cache_folder()
    path = os.path.join(folder, hashlib.sha1(_URL.format(name).encode()).hexdigest())  # noqa: S324
    try:
        if folder and not os.path.exists(path):
            _put_in_cache(name, path)
        return tiktoken.get_encoding(name)
    except (OSError, ValueError) as exc:  # requests' errors are OSErrors; a wrong hash: ValueError
        raise _missing(name, path) from exc


def encoding_name(model: str) -> str:
    """Return the name of the encoding that counts a model's plain text.

    A fine-tuned model has that of the one which it was made from.
    """
    import tiktoken

    try:
        name = tiktoken.encoding_name_for_model(model.removeprefix("ft:").partition(":")[0])
    except KeyError:
        return _NEWEST
    return _SAME_AS.get(name, name)


def _cache_folder() -> str:
    """Where tiktoken looks; empty when the user switched its cache off."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if variable in os.environ:
            return os.environ[variable]
    return os.path.join(tempfile.gettempdir(), "data-gym-cache")


def _put_in_cache(name: str, path: str) -> None:
    found = _from_rs_bpe(name) or _from_llama_index(os.path.basename(path))
    if found is None:
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # Renamed when whole: threads and processes may do the same at the same time.
    name = f"{path}.{secrets.token_hex(8)}"
    with atomic_file(path, part=name, is_durable=False) as part, open(part, "wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(found)


def _from_rs_bpe(name: str) -> bytes | None:
    """Rebuild tiktoken's file, byte by byte, from the tokens inside rs-bpe."""
    if name not in _RS_BPE_TOKENS or importlib.util.find_spec("rs_bpe") is None:
        return None
    bpe = getattr(importlib.import_module("rs_bpe.bpe").openai, name)().bpe()
    tokens = (bpe.decode_tokens([rank]) for rank in range(_RS_BPE_TOKENS[name]))
    return b"".join(b"%b %d\n" % (base64.b64encode(token), n) for n, token in enumerate(tokens))


def _from_llama_index(file_name: str) -> bytes | None:
    """Read the file inside llama-index-core, without importing that."""
    spec = importlib.util.find_spec("llama_index")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "core", "_static", "tiktoken_cache", file_name)
        if path.exists():
            return path.read_bytes()
    return None


def _missing(name: str, path: str) -> VocabularyMissing:
    url, file_name = _URL.format(name), os.path.basename(path)
    return VocabularyMissing(
        f"tiktoken's vocabulary {name} is not at {path} and could not be put there. Either "
        "`pip install 'openai-parallel-toolkit[offline]'`, which brings cl100k_base and "
        f"o200k_base; or let this machine reach {url}; or fetch that file elsewhere, save it "
        f"as {file_name} (the SHA-1 of its URL) and set TIKTOKEN_CACHE_DIR to its folder.",
        encoding=name,
        url=url,
        file_name=file_name,
    )
