"""Hooks whose two calls and two outputs touch all that a run has on the disk."""

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, append_line, request_openai_api


class Failing(ParallelToolkit):
    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return [request_openai_api(Gpt35Turbo(content=f"{n} {data}")) for n in range(2)]

    def process_output(self, data, output_file_without_ext):
        append_line("all.txt", data[0])
        for end in (".txt", "/part.md"):
            with self._open(output_file_without_ext + end) as out:
                out.write("\n".join(data))

    def _open(self, path):
        import os

        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(path, "w")
