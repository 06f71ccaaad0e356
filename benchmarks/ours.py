"""Our ways of asking."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time

from measure import MODEL, at_a_time, messages


def keys_of(job):
    return [{"key": key, "api_base": job.url} for key in job.keys]


def config_in(root, job):
    path = root / "config.json"
    path.write_text(json.dumps({"api_keys": list(job.keys), "api_base": job.url}))
    os.chmod(path, 0o600)
    return path


def model(text):
    from openai_parallel_toolkit import Gpt35Turbo

    return Gpt35Turbo(content=text, model=MODEL)


# -- whole folders -------------------------------------------------------------------------------


def folder(job, texts, ask):
    """A run whose hook asks `per_file` times a file; tells when each output was written."""
    from openai_parallel_toolkit import ParallelToolkit

    root, ended = job.fresh(), []
    (root / "in").mkdir()
    for n in range(0, len(texts), job.per_file):
        (root / "in" / f"{n:06}.txt").write_text("\n".join(texts[n : n + job.per_file]))

    class Files(ParallelToolkit):
        def process_input(self, file):
            return file.read()

        process_data = ask

        def process_output(self, answers, output_file_without_ext):
            with open(output_file_without_ext + ".txt", "w") as out:
                out.write("\n".join(answers))
            ended.append(time.monotonic())

    run = Files(
        config_in(root, job), root / "in", root / "out", num_threads=job.at_once, progress=False
    )

    def work():
        assert run.run().failed == 0
        return ended

    return work


def files(job, texts):
    """Blocking hooks on threads."""
    from openai_parallel_toolkit import request_openai_api

    def ask(self, text):
        return [request_openai_api(model(line)) for line in text.split("\n")]

    return folder(job, texts, ask)


def files_async(job, texts):
    """Async hooks."""
    from openai_parallel_toolkit import arequest_openai_api

    async def ask(self, text):
        return [await arequest_openai_api(model(line)) for line in text.split("\n")]

    return folder(job, texts, ask)


def one_by_one(job, texts):
    """One blocking call after the other, in a hook; tells when each answer came."""
    from openai_parallel_toolkit import request_openai_api

    ended = []

    def ask(self, text):
        for line in text.split("\n"):
            request_openai_api(model(line))
            ended.append(time.monotonic())
        return []

    job.per_file, job.at_once = len(texts), 1
    work = folder(job, texts, ask)
    return lambda: (work(), ended)[1]


# -- lists ---------------------------------------------------------------------------------------


def listed(job, texts, journal=None):
    """multi_process_one."""
    from openai_parallel_toolkit import APIKeyManager, Gpt35Turbo, multi_process_one

    rows = [("", text) for text in texts]

    def work():
        with contextlib.closing(APIKeyManager(keys_of(job))) as keys:
            multi_process_one(
                rows, Gpt35Turbo, threads=job.at_once, keys=keys, journal=journal, model=MODEL
            )

    return work


def listed_journal(job, texts):
    """multi_process_one with a journal."""
    return listed(job, texts, job.fresh() / "journal")


def prompts(job, texts):
    """The command `prompts`, on lines of a file."""
    from openai_parallel_toolkit.cli.dispatch import dispatch

    root = job.fresh()
    lines = (json.dumps({"id": n, "prompt": text}) for n, text in enumerate(texts))
    (root / "in.jsonl").write_text("\n".join(lines))
    command = ["prompts", str(root / "in.jsonl"), str(root / "out.jsonl"), "--model", MODEL]
    command += ["--config", str(config_in(root, job)), "--no-progress"]

    def work():
        assert dispatch(command) == 0
        assert len((root / "out.jsonl").read_text().splitlines()) == len(texts)

    return work


def requester(job, texts):
    """APIRequester.get_responses_parallel."""
    from openai_parallel_toolkit import APIRequester

    lists = list(map(messages, texts))

    def work():
        with APIRequester(
            MODEL, max_tokens=20, rate_limit=job.rate_limit, keys=keys_of(job)
        ) as api:
            api.get_responses_parallel(lists)

    return work


# -- on a loop of one's own ----------------------------------------------------------------------


def arequests(job, texts):
    """arequest_openai_api behind a semaphore."""
    from openai_parallel_toolkit import APIKeyManager, arequest_openai_api

    def work():
        with contextlib.closing(APIKeyManager(keys_of(job))) as keys:
            asyncio.run(at_a_time(job, texts, lambda text: arequest_openai_api(model(text), keys)))

    return work


def openai_door(job, texts):
    """The openai package's async client, through ours."""
    from openai_parallel_toolkit import APIKeyManager, async_openai_client

    async def main():
        with contextlib.closing(APIKeyManager(keys_of(job))) as keys:
            async with async_openai_client(keys) as client:

                def ask(text):
                    return client.chat.completions.create(model=MODEL, messages=messages(text))

                await at_a_time(job, texts, ask)

    return lambda: asyncio.run(main())


def queue(job, texts):
    """ApiQueue; tells how late a heartbeat of 5 ms beside it comes: its 99th percentile."""
    from openai_parallel_toolkit import ApiQueue

    headers = {"Authorization": f"Bearer {job.keys[0]}"}
    bodies = [{"model": MODEL, "messages": messages(text)} for text in texts]

    async def main():
        queue = ApiQueue(f"{job.url}/chat/completions", headers, bodies, rate_limit=1e9)
        late_s, task = [], asyncio.ensure_future(queue.run())
        while not task.done():
            since_s = time.perf_counter()
            await asyncio.sleep(0.005)
            late_s.append(time.perf_counter() - since_s - 0.005)
        await task
        return {"late_ms": 1000 * sorted(late_s)[int(0.99 * (len(late_s) - 1))]}

    return lambda: asyncio.run(main())
