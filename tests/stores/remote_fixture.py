"""A toolkit that runs from one place to another, and hands to fill and read the places."""

import functools
import json
import os
import sys

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api
from openai_parallel_toolkit.files.stores import is_remote, open_store
from openai_parallel_toolkit.files.stores.remote import Cleaner, RemoteStore
from openai_parallel_toolkit.files.stores.urls import remote_place

PRICES = {"gpt-3.5-turbo": {"input": 0.5, "output": 1.5}}


class Ask(ParallelToolkit):
    """Asks two questions a file, and writes two outputs."""

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return [request_openai_api(Gpt35Turbo(content=f"{n}: {data}")) for n in range(2)]

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)
        with open(output_file_without_ext + ".txt", "w") as out:
            out.write("\n".join(data))


class RemoteFixture:
    """Where a test puts inputs, a simulator's keys, and looks at outputs."""

    def __init__(self, root, sim):
        self.root, self.sim = root, sim
        self.config = root / "config.json"
        config = {"api_keys": ["sim-good"], "api_base": sim.url, "prices": PRICES}
        self.config.write_text(json.dumps(config))
        os.chmod(self.config, 0o600)

    def fill(self, url, texts):
        source = self.root / "to-put"
        for path, text in texts.items():
            source.write_text(text)
            store_of(url).publish(str(source), path)

    def run(self, source, target, kind=Ask, **settings):
        settings.setdefault("progress", False)
        settings.setdefault("fail_on_error", False)
        settings.setdefault("num_threads", 8)
        return kind(self.config, source, target, **settings).run()


def store_of(url):
    """A store whose client all share that ask for it here: making one takes 0.2 s."""
    if not is_remote(url):
        return open_store(url)
    place = remote_place(url)
    return RemoteStore(place, _client(place.service), Cleaner({}))


@functools.cache
def _client(service):
    return open_store(f"{service}://any")._fs


def texts(url):
    """All that a place holds, by path."""
    found = {}
    for stored in store_of(url).list():
        if ".openai_parallel_toolkit" not in stored.path:
            with store_of(url).open(stored.path) as file:
                found[stored.path] = file.read().decode()
    return found


def numbered(count):
    return {f"d{n % 7}/f{n:04}.txt": f"text of file {n}" for n in range(count)}


if __name__ == "__main__":
    config, source, target = sys.argv[1:]
    summary = Ask(config, source, target, num_threads=8, progress=False).run()
    print(json.dumps(summary.as_dict()))
