"""Threads of a hook's own: `CarryingPool` tells them which file they work for.

Without it their answers would not be kept for the file, and a rerun would pay for them again.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python threads.py
"""

from folder import MODEL, Briefs

from openai_parallel_toolkit import CarryingPool, ChatModel, request_openai_api


def refine(paragraph):
    """Make two requests, of which the second needs the first: so no plain list will do."""
    draft = request_openai_api(ChatModel(MODEL, content=paragraph, prompt="Make this shorter."))
    return request_openai_api(ChatModel(MODEL, content=draft, prompt="Mend the grammar."))


class Refined(Briefs):
    """Works on all paragraphs of a text at once; input and output are as in folder.py."""

    def process_data(self, text):
        with CarryingPool(8) as pool:
            return list(pool.map(refine, text.split("\n\n")))


if __name__ == "__main__":
    Refined(None, "texts", "out/threads").run()
