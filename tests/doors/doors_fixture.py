"""Prompts as users of the doors write them."""


def prompts(count):
    """Lists of messages that ask for sums, each another one."""
    return [
        [
            {"role": "system", "content": "You calculate."},
            {"role": "user", "content": f"What is {n} + {n}?"},
        ]
        for n in range(count)
    ]


def questions(count):
    return [messages[-1]["content"] for messages in prompts(count)]


def azure_key(sim):
    """What APIRequester takes for the simulator's first key."""
    key = {"key": sim.keys[0].secret, "api_base": sim.azure_endpoint, "api_version": "2024-10-21"}
    return [key]
