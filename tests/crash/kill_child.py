"""Run a folder with three calls a file, until it is done or somebody kills the process."""

import json
import sys

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api


class Child(ParallelToolkit):
    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return [request_openai_api(Gpt35Turbo(content=f"{n} {data}")) for n in range(3)]

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)
        with open(output_file_without_ext + ".txt", "w") as out:
            out.write("\n".join(data) * 200)


if __name__ == "__main__":
    config, source, target, threads = sys.argv[1:]
    settings = {"num_threads": int(threads), "progress": False, "fail_on_error": False}
    summary = Child(config, source, target, **settings).run()
    print(json.dumps(summary.as_dict()))
