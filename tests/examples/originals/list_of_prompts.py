"""A list of prompts by itself, under the keys of a manager that the function makes."""

from openai_parallel_toolkit import APIKeyManager, Gpt35Turbo, multi_process_one


def ask_all():
    data = [("Answer in one word.", f"river {n}") for n in range(5)]
    APIKeyManager(config_path="config.json", set_api_base=True)
    results = multi_process_one(data=data, openai_model_class=Gpt35Turbo, temperature=0.7)
    print(results)


ask_all()
