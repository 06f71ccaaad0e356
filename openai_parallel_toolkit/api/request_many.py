"""Ask one kind of model for a whole list, so many at a time, with the answers in order."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..calls.file_calls import Asked
from ..calls.models import OpenAIModel
from ..calls.pending_call import AnswerPolicy, CallContext, PendingCall
from ..calls.responses import Answer
from ..calls.sender import Call
from ..core.errors import HookUnwound, RunStopping, UsageError
from ..keys import APIKeyManager

#: What came for the n-th item.
_Letter = tuple[int, "Asked | Answer | BaseException"]


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
    rules = AnswerPolicy(
        allow_incomplete=allow_incomplete, max_validation_retries=max_validation_retries
    )
    place = CallContext.find(keys, config_path, max_retries, journal)
    place.file_calls.refuse_on_own_loop("amulti_process_one")
    letters: queue.SimpleQueue[_Letter] = queue.SimpleQueue()
    many = _Many(place, rules, models, _at_most(threads), letters.put)
    with place.file_calls.in_call(), _bar(len(models), progress) as settled:
        while many.is_open:
            many.take(letters.get(), settled)
    return many.answers(return_exceptions)


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
    rules = AnswerPolicy(
        allow_incomplete=allow_incomplete, max_validation_retries=max_validation_retries
    )
    place = CallContext.find(keys, config_path, max_retries, journal)
    letters: asyncio.Queue[_Letter] = asyncio.Queue()
    loop_calls = place.sender.loop_calls_to(asyncio.get_running_loop())

    def post(letter: _Letter) -> None:
        with contextlib.suppress(RuntimeError):  # the asker and its loop are gone
            loop_calls.post(letters.put_nowait, letter)

    many = _Many(place, rules, models, _at_most(threads), post)
    with place.file_calls.in_call(), _bar(len(models), progress) as settled:
        while many.is_open:
            many.take(await letters.get(), settled)
    return many.answers(return_exceptions)


class _Many:
    """The calls of one list. Only `post` is called from other threads, so there is no lock."""

    def __init__(
        self,
        place: CallContext,
        rules: AnswerPolicy,
        models: Sequence[OpenAIModel],
        at_most: int,
        post: Callable[[_Letter], None],
    ) -> None:
        """Give every call its identity, in order, and begin with the first `at_most`.

        Args:
            post: brings a letter, from any thread, to where `take` is called with it.
        """
        self._place = place
        self._rules = rules
        self._post = post
        self._settled: list[Any] = [None] * len(models)
        self._failed: dict[int, BaseException] = {}
        self._unwound: HookUnwound | None = None
        self._under_way = 0
        orders = [self._order(n, model) for n, model in enumerate(models)]
        self._waiting = iter([(n, order) for n, order in enumerate(orders) if order is not None])
        self._begun: dict[int, PendingCall] = {}
        for _ in range(at_most):
            self._begin_next()

    @property
    def is_open(self) -> bool:
        """Whether letters are still to come."""
        return bool(self._begun)

    def take(self, letter: _Letter, settled: Callable[[], object]) -> None:
        """Go on with the call that a letter is about; `settled` is called at its end."""
        n, came = letter
        order = self._begun[n]
        try:
            asked = came if isinstance(came, Asked) else self._place.file_calls.received(came)
            if not order.accepts(self._place.reply(order, asked), self._rules):
                self._ask(n, order)
                return
            self._settled[n] = order.value
        except HookUnwound as exc:
            self._unwound = exc
            if isinstance(exc, RunStopping):
                self._waiting = iter(())
        except BaseException as exc:  # noqa: BLE001 - raised when the others are settled
            self._failed[n] = exc
        del self._begun[n]
        settled()
        self._begin_next()

    def answers(self, return_exceptions: bool) -> list[Any]:
        """Return what came of each, or raise what came instead."""
        if self._unwound is not None:
            raise self._unwound
        for n in sorted(self._failed):
            if not (return_exceptions and isinstance(self._failed[n], Exception)):
                raise self._failed[n]
            self._settled[n] = self._failed[n]
        return self._settled

    def _order(self, n: int, model: OpenAIModel) -> PendingCall | None:
        try:
            return self._place.order(model)
        except UsageError as exc:  # a text that cannot be sent
            self._failed[n] = exc
            return None

    def _begin_next(self) -> None:
        following = next(self._waiting, None)
        if following is not None:
            self._begun[following[0]] = following[1]
            self._ask(*following)

    def _ask(self, n: int, order: PendingCall) -> None:
        place = self._place
        try:
            replayed = place.file_calls.replay(order.id, order.request)
        except HookUnwound as exc:
            self._post((n, exc))
            return
        if replayed is not None:
            self._post((n, replayed))
            return
        call = Call(
            request=order.request,
            id=order.id,
            context=place.context,
            deliver=lambda result: self._post((n, result)),
            transport=place.transport(order),
        )
        place.sender.submit(call)


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
