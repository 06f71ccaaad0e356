"""A list of prompts, twenty under way at a time, the answers in the order of the list.

`journal=` keeps them in a folder: run it again, and it is answered from there.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python many_prompts.py
"""

import os

from openai_parallel_toolkit import ChatModel, multi_process_one

MODEL = os.environ.get("MODEL", "gpt-4o-mini")
WORDS = ("harbour", "lighthouse", "compass", "anchor")
LANGUAGES = ("French", "Greek", "Norwegian")

rows = [(f"Translate to {language}.", word) for language in LANGUAGES for word in WORDS]
answers = multi_process_one(
    rows,
    ChatModel,
    threads=20,
    return_exceptions=True,  # one that fails stands in the list as its error
    journal="out/many_prompts",
    model=MODEL,
    temperature=0,
)
for (prompt, word), answer in zip(rows, answers, strict=True):
    print(f"{prompt} {word}: {answer}")
