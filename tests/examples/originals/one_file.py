"""One long file, whose parts are asked side by side."""

import json

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, multi_process_one


class Parts(ParallelToolkit):
    @staticmethod
    def process_input(file):
        return [("Say it kindly.", line.strip()) for line in file]

    @staticmethod
    def process_data(data):
        results = multi_process_one(data=data, openai_model_class=Gpt35Turbo, temperature=0.7)
        return results

    @staticmethod
    def process_output(data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as file:
            json.dump(data, file)


toolkit = Parts(
    config_path="config.json",
    input_path="input/parts.txt",
    output_path="output",
    file_count=None,
    num_threads=20,
    name="Parts",
)
toolkit.run()
