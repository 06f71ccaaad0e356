"""Change the questions and run the demo again: you are told what it would ask, and pay for."""

import json
from typing import IO

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api


class MyToolkit(ParallelToolkit):
    """Asks two questions about every text."""

    def process_input(self, file: IO[str]) -> str:
        return file.read(4000)

    def process_data(self, text: str) -> dict[str, str]:
        summary = request_openai_api(Gpt35Turbo(content=text, prompt="Sum this up in a sentence."))
        title = request_openai_api(Gpt35Turbo(content=text, prompt=f"A title for this: {summary}"))
        return {"title": title, "summary": summary}

    def process_output(self, data: dict[str, str], output_file_without_ext: str) -> None:
        with open(output_file_without_ext + ".json", "w", encoding="utf-8") as file:
            json.dump(data, file, indent=2, ensure_ascii=False)
