"""Single calls and lists of them, and a model of one's own with the openai package's own client.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    echo '{"api_keys": ["env:OPENAI_API_KEY"]}' > config.json
    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python calls.py
"""

import openai

from openai_parallel_toolkit import (
    APIKeyManager,
    Gpt35Turbo,
    OpenAIModel,
    multi_process_one,
    request_openai_api,
)


class Gpt4(OpenAIModel):
    def __init__(self, content, prompt, temperature):
        self.content = content
        self.prompt = prompt
        self.temperature = temperature

    def generate(self):
        response = openai.chat.completions.create(
            model="gpt-4",
            temperature=self.temperature,
            messages=[
                {"role": "system", "content": self.prompt},
                {"role": "user", "content": self.content},
            ],
        )
        return response.choices[0].message.content.strip()


APIKeyManager(config_path="config.json", set_api_base=True)
print(request_openai_api(Gpt35Turbo(content="hello world", prompt="", temperature=0.7)))

data = [("Say it in French.", "hello"), ("Say it in Greek.", "world")]
print(multi_process_one(data=data, openai_model_class=Gpt35Turbo, temperature=0.7))
print(multi_process_one(data=data, openai_model_class=Gpt4, threads=10, temperature=0.7))
