"""Ask a model once or for a whole list: in a hook, where answers are kept for its file, or not."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, ParamSpec, TypeVar

from ..calls.call_list import ModelCalls
from ..calls.models import OpenAIModel
from ..calls.own_generate import pending_call
from ..calls.pending_call import AnswerPolicy, CallContext, Keys
from ..core.errors import RequestFailed, UsageError
from ..core.records import Reply

OnError = Literal["raise", "none"]
_SUPPRESSED: dict[OnError, tuple[type[Exception], ...]] = {"raise": (), "none": (RequestFailed,)}
_Args = ParamSpec("_Args")
_Value = TypeVar("_Value")


def request_openai_api(
    openai_model: OpenAIModel,
    keys: Keys | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    allow_incomplete: bool = False,
    max_validation_retries: int = 2,
    on_error: OnError = "raise",
    journal: str | os.PathLike[str] | None = None,
) -> Any:
    """Ask a model and return the text of its first choice, stripped.

    An EmbeddingModel gives its vector, or a list of vectors; a model with a `response_format` the
    object or the parsed JSON; an OpenAIModel of your own what its `generate` returns.

    Args:
        openai_model: what to ask.
        keys: the keys to use, a manager or a list; equal lists share one manager. None: those of
            the running toolkit, else the first APIKeyManager that was made, else those of the
            environment.
        config_path: a config file to take keys from; None: as `keys` says.
        max_retries: re-sends after a server error; None: the toolkit's setting, or 5.
        allow_incomplete: return a text that was cut by its length limit or a content filter.
        max_validation_retries: how often to ask again, and pay again, when the answer does not
            fit `response_format`.
        on_error: "none" returns None where RequestFailed would be raised.
        journal: outside any toolkit, a folder to keep the answers in: when the script runs again,
            equal calls are replayed, the first one first. The folder is open, and locked against
            other processes, until the keys are closed or the process ends. Equal calls from
            several threads may swap their answers. None: nothing is kept. In a hook the answer is
            kept for its file, whatever this says.

    Raises:
        IncompleteAnswer: the answer was cut short, refused, failed or is empty; `text` holds what
            came. It was paid for and is kept; a later run asks again.
        InvalidAnswer: no answer fitted `response_format`; `text` holds the last.
        RequestFailed: there is no usable answer; see its kin RequestRejected, OutcomeUnknown.
        NoUsableKey: every key is dropped.
        RunLocked: another process has the journal open.
    """
    policy = _policy(allow_incomplete, max_validation_retries)
    with contextlib.suppress(*_SUPPRESSED[on_error]):
        call = pending_call(openai_model, keys, config_path, max_retries, journal)
        while not call.accepts(call.ask(), policy):
            pass
        return call.value


async def arequest_openai_api(
    openai_model: OpenAIModel,
    keys: Keys | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    allow_incomplete: bool = False,
    max_validation_retries: int = 2,
    on_error: OnError = "raise",
    journal: str | os.PathLike[str] | None = None,
) -> Any:
    """Do what `request_openai_api` does without blocking the event loop."""
    policy = _policy(allow_incomplete, max_validation_retries)
    with contextlib.suppress(*_SUPPRESSED[on_error]):
        call = pending_call(openai_model, keys, config_path, max_retries, journal)
        while not call.accepts(await call.ask_async(), policy):
            pass
        return call.value


def request_reply(
    openai_model: OpenAIModel,
    keys: Keys | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    journal: str | os.PathLike[str] | None = None,
) -> Reply:
    """Ask a model and return the whole Reply, finish reason, usage and cost included.

    Arguments and errors are those of `request_openai_api`, but the answer is returned as it is:
    one that was cut short, failed or is empty is not `is_whole`, with the cause in `finish_reason`
    and `trouble`, and none is held against a `response_format`. In a later run it is replayed as it
    is, unless that run has `retry_failed`.
    """
    call = pending_call(openai_model, keys, config_path, max_retries, journal)
    return call.ask()


async def arequest_reply(
    openai_model: OpenAIModel,
    keys: Keys | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    journal: str | os.PathLike[str] | None = None,
) -> Reply:
    """Do what `request_reply` does without blocking the event loop."""
    call = pending_call(openai_model, keys, config_path, max_retries, journal)
    return await call.ask_async()


def multi_process_one(
    data: Iterable[Sequence[Any]],
    openai_model_class: Callable[..., OpenAIModel],
    threads: int | None = None,
    *,
    return_exceptions: bool = False,
    progress: bool = False,
    keys: Keys | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    allow_incomplete: bool = False,
    max_validation_retries: int = 2,
    journal: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> list[Any]:
    """Ask a model for each (prompt, content) of a list and return the answers in its order.

    One item that fails does not lose the others: all of them are asked, and in a hook kept for the
    file, before the first error is raised.

    Args:
        data: tuples (prompt, content), given to the class by these names; further items fill the
            rest of its parameters in their order.
        openai_model_class: for example Gpt35Turbo, or a class of your own.
        threads: how many may be under way at a time; None: five times the number of CPUs.
        return_exceptions: put the error of an item in the place of its answer.
        progress: draw a tqdm bar of the items.
        kwargs: parameters of the class that hold for all items.

    The other arguments and the errors are those of `request_openai_api`.
    """
    models = _models(data, openai_model_class, kwargs)
    policy = _policy(allow_incomplete, max_validation_retries)
    call_context = CallContext.find(keys, config_path, max_retries, journal)
    calls = ModelCalls(call_context, policy, models, _at_most(threads))
    with _bar(len(models), progress) as count:
        calls.run("amulti_process_one", lambda _: count(), lambda: None)
    return _answers(calls, return_exceptions)


async def amulti_process_one(
    data: Iterable[Sequence[Any]],
    openai_model_class: Callable[..., OpenAIModel],
    threads: int | None = None,
    *,
    return_exceptions: bool = False,
    progress: bool = False,
    keys: Keys | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    allow_incomplete: bool = False,
    max_validation_retries: int = 2,
    journal: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> list[Any]:
    """Do what `multi_process_one` does without blocking the event loop."""
    models = _models(data, openai_model_class, kwargs)
    policy = _policy(allow_incomplete, max_validation_retries)
    call_context = CallContext.find(keys, config_path, max_retries, journal)
    calls = ModelCalls(call_context, policy, models, _at_most(threads))
    with _bar(len(models), progress) as count:
        await calls.run_async(lambda _: count())
    return _answers(calls, return_exceptions)


class CarryingPool(ThreadPoolExecutor):
    """A ThreadPoolExecutor whose threads work for the file of the hook that hands them work.

    Calls made in a plain thread belong to no file, so their answers are not kept. `submit` and
    `map` run each task in a copy of the caller's context (its `contextvars`).
    """

    def submit(
        self, fn: Callable[_Args, _Value], /, *args: _Args.args, **kwargs: _Args.kwargs
    ) -> Future[_Value]:
        """Have a thread call `fn(*args, **kwargs)`; return its Future."""
        task = functools.partial(fn, *args, **kwargs)
        return super().submit(contextvars.copy_context().run, task)


def _policy(allow_incomplete: bool, max_validation_retries: int) -> AnswerPolicy:
    return AnswerPolicy(
        allow_incomplete=allow_incomplete, max_validation_retries=max_validation_retries
    )


def _answers(calls: ModelCalls, return_exceptions: bool) -> list[Any]:
    """Return what came of each, or raise what came instead."""
    for n in sorted(calls.errors):
        if not (return_exceptions and isinstance(calls.errors[n], Exception)):
            raise calls.errors[n]
        calls.values[n] = calls.errors[n]
    return calls.values


def _models(
    data: Iterable[Sequence[Any]], kind: Callable[..., OpenAIModel], shared: dict[str, Any]
) -> list[OpenAIModel]:
    if not callable(kind) or (inspect.isclass(kind) and not issubclass(kind, OpenAIModel)):
        raise UsageError(f"expected a model's class such as Gpt35Turbo, got {kind!r}")
    names = [
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
        and name not in {"prompt", "content", *shared}
    ]
    order = ["prompt", "content", *names]
    twice = [name for name in order[:2] if name in shared]
    if twice:
        raise UsageError(
            f"{' and '.join(twice)}: given by position, in each item of the list, and by name too; "
            "take one of them out"
        )
    models = []
    for n, item in enumerate(data):
        if not isinstance(item, (tuple, list)) or not 2 <= len(item) <= len(order):
            raise UsageError(
                f"item {n} of the list must be a tuple ({', '.join(order)}), of which prompt and "
                "content must be there"
            )
        models.append(kind(**dict(zip(order, item, strict=False)), **shared))
    return models


def _at_most(threads: int | None) -> int:
    if threads is not None and threads < 1:
        raise UsageError(f"threads is at least 1, not {threads}")
    return threads or 5 * (os.cpu_count() or 1)


@contextlib.contextmanager
def _bar(total: int, is_wanted: bool) -> Iterator[Callable[[], object]]:
    """Draw a bar for the block, which gets what counts one item."""
    if not is_wanted:
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(total=total) as bar:
        yield bar.update
