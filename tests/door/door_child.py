"""A program whose hooks ask five times a file through the openai package."""

import json
import sys

from openai_parallel_toolkit import ParallelToolkit


class Asks(ParallelToolkit):
    """Asks at module level, and streams."""

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        import openai

        said = []
        for n in range(5):
            reply = openai.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": f"{data}, {n}"}],
                stream=True,
            )
            said.append("".join(chunk.choices[0].delta.content or "" for chunk in reply))
        return said

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)


if __name__ == "__main__":
    Asks(*sys.argv[1:4], progress=False, num_threads=2).run()
