"""The public names as a user writes them; checked by mypy --strict and never run."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from openai_parallel_toolkit import (
    APIKeyManager,
    BudgetExceeded,
    CarryingPool,
    ChatModel,
    ConfigError,
    EmbeddingModel,
    FilesFailed,
    Gpt35Turbo,
    IncompleteAnswer,
    InvalidAnswer,
    NoUsableKey,
    OpenAIModel,
    OutcomeUnknown,
    ParallelToolkit,
    Reply,
    RequestFailed,
    RequestRejected,
    ResponsesModel,
    RunLocked,
    RunStopped,
    RunSummary,
    StorageError,
    ToolkitError,
    Usage,
    amulti_process_one,
    arequest_openai_api,
    arequest_reply,
    multi_process_one,
    num_tokens_from_string,
    request_openai_api,
    request_reply,
    split_string_by_tokens,
)


class OfTheReadme(ParallelToolkit):
    """Static hooks without types, as in the first programs of the kind."""

    @staticmethod
    def process_input(file):  # type: ignore[no-untyped-def]
        return json.load(file)

    @staticmethod
    def process_data(data):  # type: ignore[no-untyped-def]
        return request_openai_api(Gpt35Turbo(content="hello world", prompt="", temperature=0.7))

    @staticmethod
    def process_output(data, output_file_without_ext):  # type: ignore[no-untyped-def]
        Path(f"{output_file_without_ext}.json").write_text(json.dumps(data), encoding="utf-8")


class Typed(ParallelToolkit):
    """Ordinary methods with types."""

    def process_input(self, file: IO[str]) -> list[str]:
        return file.read().splitlines()

    def process_data(self, data: list[str]) -> dict[str, str]:
        return {line: request_openai_api(ChatModel("gpt-4o-mini", content=line)) for line in data}

    def process_output(self, data: dict[str, str], output_file_without_ext: str) -> None:
        Path(f"{output_file_without_ext}.json").write_text(json.dumps(data), encoding="utf-8")


class Async(ParallelToolkit):
    """An async hook, and a binary input."""

    def process_input(self, file: IO[bytes]) -> list[str]:
        return file.read().decode().splitlines()

    async def process_data(self, data: list[str]) -> dict[str, str]:
        calls = [arequest_openai_api(Gpt35Turbo(line)) for line in data]
        return dict(zip(data, await asyncio.gather(*calls), strict=True))

    def process_output(self, data: dict[str, str], output_file_without_ext: str) -> None:
        Path(f"{output_file_without_ext}.json").write_text(json.dumps(data), encoding="utf-8")


class OfOnesOwn(OpenAIModel):
    """Calls the openai package's module-level client."""

    def __init__(self, content: str) -> None:
        self.content = content

    def generate(self) -> str:
        return self.content


class WithClient(OpenAIModel):
    """Gets a client."""

    def __init__(self, content: str) -> None:
        self.content = content

    def generate(self, client: Any) -> str:
        return str(client.chat.completions.create(model="gpt-4", messages=[]))


def run() -> RunSummary:
    keys = APIKeyManager(["key of mine"], "config.json", set_api_base=True)
    keys.add_key("another")
    keys.remove_key("key-1")
    toolkit = Typed(
        Path("config.json"),
        "in",
        Path("out"),
        file_count=10,
        num_threads=4,
        name="Mine",
        key_manager=keys,
        pattern="*.txt",
        exclude=["a", "b"],
        mode="live",
        max_cost=Decimal(5),
        fail_on_error=0.1,
        hook_timeout_s=None,
    )
    try:
        summary = toolkit.run()
    except RunStopped as stopped:
        print(stopped.summary)
        raise
    except (NoUsableKey, StorageError, BudgetExceeded, RunLocked, FilesFailed, ConfigError) as exc:
        message: str = exc.message
        print(message, exc.exit_code)
        raise
    files: int = summary.done + summary.skipped + summary.failed + summary.aside + summary.left
    cost: Decimal = summary.cost_usd + summary.max_cost_usd
    calls: int = summary.calls.sent + summary.calls.unknown + summary.calls.replayed
    for key in summary.keys:
        name: str = key.name
        sent: int = summary.calls.by_key[name].sent
        print(name, key.state, key.reason, sent)
    print(files, cost, calls, summary.seconds, summary.as_dict())
    return summary


def call() -> tuple[str, Reply]:
    keys = APIKeyManager()
    try:
        text: str = request_openai_api(Gpt35Turbo("hello"), keys, max_retries=2)
    except IncompleteAnswer as exc:
        text = exc.text
    except (RequestRejected, OutcomeUnknown) as exc:
        billed: int = exc.attempts + exc.maybe_billed
        status: int | None = exc.status
        print(billed, status, exc.code)
        raise
    except RequestFailed:
        raise
    except ToolkitError as exc:
        print(exc.summary)
        raise
    maybe: str | None = request_openai_api(OfOnesOwn("hello"), on_error="none")
    reply = request_reply(ChatModel("gpt-4", [{"role": "user", "content": "hello"}], n=2))
    usage: Usage = reply.usage
    tokens: int = usage.prompt_tokens + usage.completion_tokens + usage.total_tokens
    price: Decimal | None = reply.cost_usd
    print(maybe, tokens, price, reply.finish_reason, reply.raw["id"], keys.status(), repr(keys))
    return text, reply


async def call_async() -> None:
    text: str = await arequest_openai_api(Gpt35Turbo("hello"), allow_incomplete=True)
    reply: Reply = await arequest_reply(WithClient("hello"), config_path="config.json")
    print(text, reply.text)


def count_and_split() -> list[str]:
    tokens: int = num_tokens_from_string("hello world") + num_tokens_from_string("", "gpt-4o")
    print(tokens, split_string_by_tokens("hello world", 2, "."))
    return split_string_by_tokens("a. b.", 2, ".", model="gpt-4o", strip=False)


def call_many(rows: list[tuple[str, str]]) -> list[str]:
    answers: list[str] = multi_process_one(rows, Gpt35Turbo, threads=5, temperature=0.0)
    more = multi_process_one(
        rows, OfOnesOwn, return_exceptions=True, progress=True, journal=Path("kept")
    )
    vector: list[float] = request_openai_api(EmbeddingModel("text-embedding-3-small", "hello"))
    try:
        model = ResponsesModel("gpt-4o-mini", "hello", response_format={"type": "json_object"})
        request_openai_api(model, max_validation_retries=1, journal="kept")
    except InvalidAnswer as exc:
        print(exc.text, exc.reason)
    with CarryingPool(5) as pool:
        future = pool.submit(len, answers)
        lengths: list[int] = list(pool.map(len, answers))
    print(more, vector, future.result() + 1, lengths)
    return answers


async def call_many_async(rows: list[tuple[str, str]]) -> list[str]:
    answers: list[str] = await amulti_process_one(rows, Gpt35Turbo)
    return answers
