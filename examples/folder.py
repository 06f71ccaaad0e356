"""A folder of texts in, a JSON file for each out. Run it again, and nothing is paid twice.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python folder.py
"""

import json
import os

from openai_parallel_toolkit import ChatModel, ParallelToolkit, request_openai_api

MODEL = os.environ.get("MODEL", "gpt-4o-mini")


class Briefs(ParallelToolkit):
    """Two requests a file; the second builds on the first."""

    def process_input(self, file):
        return file.read()

    def process_data(self, text):
        brief = request_openai_api(ChatModel(MODEL, content=text, prompt="Sum up in a sentence."))
        title = request_openai_api(ChatModel(MODEL, content=brief, prompt="Find a title for this."))
        return {"title": title, "brief": brief}

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w", encoding="utf-8") as out:
            json.dump(data, out, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    Briefs(config_path=None, input_path="texts", output_path="out/folder").run()
