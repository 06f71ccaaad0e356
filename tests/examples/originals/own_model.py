"""A model of one's own, whose `generate` returns the completion as it came."""

import openai

from openai_parallel_toolkit import (
    APIKeyManager,
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
        completion = openai.chat.completions.create(
            model="gpt-4",
            messages=[
                {"role": "system", "content": self.prompt},
                {"role": "user", "content": self.content},
            ],
            temperature=self.temperature,
        )
        return completion


model = Gpt4(content="good morning", prompt="", temperature=0.7)
print(request_openai_api(openai_model=model, config_path="config.json"))

APIKeyManager(config_path="config.json", set_api_base=True)
data = [("Say it in Greek.", "salt"), ("Say it in Latin.", "pepper")]
print(multi_process_one(data=data, openai_model_class=Gpt4, temperature=0.7))
