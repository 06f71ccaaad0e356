"""The folder toolkit, as in its first README.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    echo '{"api_keys": ["env:OPENAI_API_KEY"]}' > config.json
    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python parallel_toolkit.py
"""

import json

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api


class MyToolkit(ParallelToolkit):
    @staticmethod
    def process_input(file):
        return json.load(file)

    @staticmethod
    def process_data(data):
        return request_openai_api(Gpt35Turbo(content="hello world", prompt="", temperature=0.7))

    @staticmethod
    def process_output(data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as file:
            json.dump(data, file)


summary = MyToolkit(config_path="config.json", input_path="in", output_path="out").run()
