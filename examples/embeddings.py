"""Embed a list of texts, and find the one that is nearest to a question.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python embeddings.py
"""

import glob
import os

from openai_parallel_toolkit import EmbeddingModel, multi_process_one, request_openai_api

MODEL = os.environ.get("MODEL", "text-embedding-3-small")


def likeness(one, other):
    """Return the cosine of the angle between two vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


texts = {}
for path in sorted(glob.glob("texts/**/*.txt", recursive=True)):
    with open(path, encoding="utf-8") as file:
        texts[path] = file.read()
vectors = multi_process_one(
    [("", text) for text in texts.values()],  # an embedding has no prompt
    EmbeddingModel,
    journal="out/embeddings",
    model=MODEL,
)
question = request_openai_api(EmbeddingModel(MODEL, "Which bird never rests?"))
for near, path in sorted(zip((likeness(v, question) for v in vectors), texts, strict=True))[::-1]:
    print(f"{near:6.3f}  {path}")
