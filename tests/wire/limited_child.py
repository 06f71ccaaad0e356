"""Run a folder in a process that may have only so many files open, or only so many threads."""

import json
import os
import resource
import sys
import threading

from openai_parallel_toolkit import (
    Gpt35Turbo,
    ParallelToolkit,
    ToolkitError,
    arequest_openai_api,
    request_openai_api,
)

kept = []


class Blocking(ParallelToolkit):
    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return request_openai_api(Gpt35Turbo(content=data))

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)


class Async(Blocking):
    async def process_data(self, data):
        return await arequest_openai_api(Gpt35Turbo(content=data))


class Leaking(Blocking):
    """Opens files that it never closes."""

    def process_output(self, data, output_file_without_ext):
        super().process_output(data, output_file_without_ext)
        kept.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(20))


class LeakingAsync(Leaking, Async):
    """The same on an event loop."""


def limit_threads(count):
    """Have about so many threads: each takes more memory than there is for all the rest."""
    each_bytes, rest_bytes = 1 << 30, 2 << 30
    threading.stack_size(each_bytes)
    most_bytes = rest_bytes + count * each_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))


if __name__ == "__main__":
    kind, what, soft, hard, config, source, target = sys.argv[1:]
    if what == "threads":
        limit_threads(int(hard))
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(soft), int(hard)))
    try:
        globals()[kind](config, source, target, num_threads=60, progress=False).run()
    except ToolkitError as exc:
        sys.exit(f"{type(exc).__name__}: {exc}")
