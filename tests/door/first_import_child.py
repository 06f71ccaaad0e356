"""A program that imports the openai package first in a hook, in the way it is told."""

import sys

from openai_parallel_toolkit import OpenAIModel, ParallelToolkit, request_openai_api


class Own(OpenAIModel):
    def __init__(self, text):
        self.text = text

    def generate(self):
        return module_level(self.text)


def module_level(text):
    import openai

    return openai.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": text}]
    )


def by_client(text):
    from openai_parallel_toolkit import DurableTransport, openai_client

    assert DurableTransport is not None
    client = openai_client()
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="gpt-4o-mini", messages=messages)


WAYS = {
    "module": module_level,
    "client": by_client,
    "generate": lambda text: request_openai_api(Own(text)),
}


class Asks(ParallelToolkit):
    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        assert "openai" not in sys.modules
        WAYS[sys.argv[4]](data)
        return str(module_level(data + " again").choices[0].message.content)

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".txt", "w") as out:
            out.write(data)


if __name__ == "__main__":
    # Trying the prompts of finished files first would import it as well.
    Asks(*sys.argv[1:4], progress=False, num_threads=1, check_prompts=False).run()
