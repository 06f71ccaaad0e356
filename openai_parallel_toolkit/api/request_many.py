"""Ask one kind of model for a whole list, so many at a time, with the answers in order."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..calls.call_list import ModelCalls
from ..calls.models import OpenAIModel
from ..calls.pending_call import AnswerPolicy, CallContext
from ..core.errors import UsageError
from ..keys import APIKeyManager


def multi_process_one(
    data: Iterable[Sequence[Any]],
    openai_model_class: Callable[..., OpenAIModel],
    threads: int | None = None,
    *,
    return_exceptions: bool = False,
    progress: bool = False,
    keys: APIKeyManager | None = None,
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
    policy = AnswerPolicy(
        allow_incomplete=allow_incomplete, max_validation_retries=max_validation_retries
    )
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
    keys: APIKeyManager | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    allow_incomplete: bool = False,
    max_validation_retries: int = 2,
    journal: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> list[Any]:
    """Do what `multi_process_one` does without blocking the event loop."""
    models = _models(data, openai_model_class, kwargs)
    policy = AnswerPolicy(
        allow_incomplete=allow_incomplete, max_validation_retries=max_validation_retries
    )
    call_context = CallContext.find(keys, config_path, max_retries, journal)
    calls = ModelCalls(call_context, policy, models, _at_most(threads))
    with _bar(len(models), progress) as count:
        await calls.run_async(lambda _: count())
    return _answers(calls, return_exceptions)


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
    if not (callable(kind) and _makes_model(kind)):
        raise UsageError(f"expected a model's class such as Gpt35Turbo, got {kind!r}")
    names = [
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
        and name not in {"prompt", "content", *shared}
    ]
    order = ["prompt", "content", *names]
    models = []
    for n, item in enumerate(data):
        if not isinstance(item, (tuple, list)) or not 2 <= len(item) <= len(order):
            raise UsageError(
                f"item {n} of the list must be a tuple ({', '.join(order)}), of which prompt and "
                "content must be there"
            )
        models.append(kind(**dict(zip(order, item, strict=False)), **shared))
    return models


def _makes_model(kind: Callable[..., Any]) -> bool:
    return not inspect.isclass(kind) or issubclass(kind, OpenAIModel)


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
