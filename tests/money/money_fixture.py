"""A folder of files of random size, hooks that ask several questions of each, and a server."""

import json
import os
import sys
from decimal import Decimal
from pathlib import Path
from random import Random

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api

MODEL = "gpt-3.5-turbo"
#: USD per million tokens; dear, so that a small job costs dollars.
PRICES = {MODEL: {"input": 500, "output": 1500}}
STATE = ".openai_parallel_toolkit"


class Sums(ParallelToolkit):
    """Asks two questions about each file, the second about the first's answer."""

    def process_input(self, file):
        return file.read()

    def process_data(self, text):
        first = request_openai_api(Gpt35Turbo(content=text, prompt="Sum up.", max_tokens=300))
        asked = Gpt35Turbo(content=first, prompt="Translate.", max_tokens=300)
        return [first, request_openai_api(asked)]

    def process_output(self, answers, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(answers, out)


class Place:
    """One test's folder."""

    def __init__(self, root: Path):
        self.root = root
        self.input, self.output = root / "in", root / "out"
        self.config = root / "config.json"
        self.input.mkdir()

    def inputs(self, count, *, words=(5, 400), seed=1):
        """Write files of random length, a sentence of some words after another."""
        chance = Random(seed)
        for n in range(count):
            length = chance.randint(*words)
            text = " ".join(f"word{n}x{i}{'.' if i % 9 == 8 else ''}" for i in range(length))
            (self.input / f"f{n:04}.txt").write_text(text)
        return self

    def configure(self, sim, **fields):
        fields.setdefault("prices", PRICES)
        keys = [{"key": key.secret, "name": key.name} for key in sim.keys]
        self.config.write_text(json.dumps({"api_keys": keys, "api_base": sim.url, **fields}))
        os.chmod(self.config, 0o600)
        return self

    def toolkit(self, kind=Sums, **settings):
        settings.setdefault("progress", False)
        settings.setdefault("fail_on_error", False)
        return kind(self.config, self.input, self.output, **settings)


def bill_usd(sim):
    """What the provider's ledger charges for all that it answered, USD."""
    total = sim.ledger.summary().total
    price = PRICES[MODEL]
    cost = total.prompt_tokens * price["input"] + total.completion_tokens * price["output"]
    return Decimal(cost) / 1_000_000


if __name__ == "__main__":
    config, source, target, max_cost = sys.argv[1:]
    Sums(config, source, target, num_threads=100, max_cost=max_cost, progress=False).run()
