"""Hooks for one file, run over a folder."""

import json

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api


class Letters(ParallelToolkit):
    @staticmethod
    def process_input(file):
        return json.load(file)

    @staticmethod
    def process_data(data):
        model = Gpt35Turbo(content=data["text"], prompt="", temperature=0.7)
        result = request_openai_api(model)
        return result

    @staticmethod
    def process_output(data, output_file_without_ext):
        output_file = output_file_without_ext + ".json"
        with open(output_file, "w", encoding="utf-8") as file:
            json.dump({"result": data}, file, ensure_ascii=False)


Letters(config_path="config.json", input_path="input", output_path="output").run()
