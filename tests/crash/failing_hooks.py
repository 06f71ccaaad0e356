"""Hooks whose two calls and two outputs touch all that a run has on the disk."""

import os

from openai_parallel_toolkit import (
    BatchOptions,
    Gpt35Turbo,
    ParallelToolkit,
    append_line,
    request_openai_api,
)

#: The simulator's batches are done at once, and listed at once.
QUICK = BatchOptions(poll_s=0.1, longest_poll_s=0.5, listed_within_s=0.5, believed_s=1)


class Failing(ParallelToolkit):
    def __init__(self, *args, **options):
        super().__init__(*args, **{**options, "batch": QUICK})

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
