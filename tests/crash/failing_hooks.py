"""Hooks whose two calls and two outputs touch all that a run has on the disk."""

import os

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, append_line, request_openai_api


class Failing(ParallelToolkit):
    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return [request_openai_api(Gpt35Turbo(content=f"{n} {data}")) for n in range(2)]

    def process_output(self, data, output_file_without_ext):
        append_line("all.txt", data[0])
        for end in (".txt", "/part.md"):
            path = output_file_without_ext + end
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as out:
                out.write("\n".join(data))
