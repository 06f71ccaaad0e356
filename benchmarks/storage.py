"""How long it takes to list 10,000 objects, beside a bare `find` of the fsspec backend.

    python benchmarks/storage.py

Starts moto's S3 server and Azurite (npm and a network are needed the first time), fills a bucket in
each, and prints medians of five: the bare `find`, the store's `list`, and the listing that a run
makes of it, on disk and sorted into folders. Needs the extra `test`.
"""

import asyncio
import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "stores")]

import store_servers  # noqa: E402
from measure import medians_s  # noqa: E402

from openai_parallel_toolkit.files.remote import listing_of  # noqa: E402
from openai_parallel_toolkit.files.stores import open_store  # noqa: E402

OBJECTS, PER_FOLDER, ROUNDS = 10_000, 100, 5


def fill(store, bucket):
    fs = store._fs
    fs.mkdir(bucket)

    async def put_all():
        stop = asyncio.Semaphore(32)

        async def put(n):
            async with stop:
                await fs._pipe_file(f"{bucket}/in/d{n // PER_FOLDER:04}/f{n:06}.txt", b"text")

        await asyncio.gather(*(put(n) for n in range(OBJECTS)))

    asyncio.run_coroutine_threadsafe(put_all(), fs.loop).result()


def spool(store, folder):
    listing = listing_of(store, folder)
    count = sum(1 for d in listing.folders("") for _ in listing.files(d))
    listing.close()
    return count


def listed(count):
    assert count == OBJECTS, count


def measure(kind, **options):
    with closing(open_store(f"{kind}://bench", **options)) as bucket:
        fill(bucket, "bench")
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_store(f"{kind}://bench/in", **options)) as store,
    ):
        works = {
            "find": lambda: listed(len(store._fs.find("bench/in"))),
            "list": lambda: listed(sum(1 for _ in store.list())),
            "listing": lambda: listed(spool(store, folder)),
        }
        works["find"]()
        medians = medians_s(works, ROUNDS)
    print(
        f"{kind:5} find {medians['find']:.2f} s, list {medians['list']:.2f} s "
        f"({medians['list'] / medians['find']:.2f} x), listing of a run {medians['listing']:.2f} s "
        f"({medians['listing'] / medians['find']:.2f} x)",
        flush=True,
    )


def main():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    with store_servers.moto() as url:
        measure("s3", endpoint_url=url, key="testing", secret="testing-testing")
    with store_servers.azurite(os.path.join(cache, "openai-parallel-toolkit-tests")) as connection:
        measure("abfs", connection_string=connection)


if __name__ == "__main__":
    main()
