"""Long texts: cut each into pieces of whole sentences, ask about all of them, join the answers.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python long_texts.py

Counting needs a vocabulary, which tiktoken downloads once; `pip install
'openai-parallel-toolkit[offline]'` brings it.
"""

from folder import MODEL, Briefs

from openai_parallel_toolkit import (
    ChatModel,
    multi_process_one,
    num_tokens_from_string,
    split_string_by_tokens,
)

PIECE_TOKENS = 40  # a few sentences, for the sake of the example


class Translations(Briefs):
    """Translates piece by piece; input and output are as in folder.py."""

    def process_data(self, text):
        pieces = split_string_by_tokens(text, PIECE_TOKENS, ".")
        rows = [("Translate to French.", piece) for piece in pieces]
        return {
            "tokens": num_tokens_from_string(text),
            "french": " ".join(multi_process_one(rows, ChatModel, model=MODEL)),
        }


if __name__ == "__main__":
    Translations(None, "texts", "out/long_texts").run()
