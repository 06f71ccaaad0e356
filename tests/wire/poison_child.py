"""Run a folder in which one file may kill the process."""

import json
import os
import signal
import sys

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api


class Child(ParallelToolkit):
    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        if "poison at once" in data:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = request_openai_api(Gpt35Turbo(content=data))
        if "poison" in data:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)


if __name__ == "__main__":
    config, source, target = sys.argv[1:]
    summary = Child(
        config, source, target, num_threads=8, progress=False, fail_on_error=False
    ).run()
    print(json.dumps(summary.as_dict()))
