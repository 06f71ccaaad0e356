"""One call, in two lines of code."""

from openai_parallel_toolkit import Gpt35Turbo, request_openai_api

model = Gpt35Turbo(content="good evening", prompt="", temperature=0.7)
result = request_openai_api(openai_model=model, config_path="config.json")
print(result)
