"""Run the simulator: in this process on a thread of its own, or until a signal comes."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from .batches.controls import BatchControls, BatchLimits
from .environment import Environment
from .faults import Fault, FaultScript
from .keys import Keyring, SimKey
from .latency import Latency
from .ledger import Ledger, Row
from .service import Service
from .usage_forms import USAGE_FORMS

_BACKLOG = 2048
_FLUSH_EVERY_S = 0.2
_LIMITS = BatchLimits()
_NO_FORMS: Mapping[str, str] = {}


class Simulator:
    """An OpenAI look-alike on loopback that can be told to misbehave and that keeps a bill.

    Answers depend on the seed and the request's body alone. Use it as a context manager, or call
    `start` and `stop`. It can be started once.

    Args:
        keys: the keys it knows.
        seed: of answers, latency and faults that come by chance.
        latency: seconds before each reply, or how they are spread.
        faults: rules; the first that a request meets is played.
        context_tokens: tokens that a prompt and its longest answer may have together.
        usage_forms: by model, how it is billed and how its replies tell it, of USAGE_FORMS; a model
            that is not here: as OpenAI does.
        extra_parameters: names that bodies may have besides those of OpenAI's API, for other
            servers with it, such as vLLM; "*": any.
        ledger_path: file to which each row is appended as a line of JSON; None: memory only.
        port: 0 takes a free one.
        batch_seconds: from a batch's creation to its end, if its lines take no longer.
        batch_window_s: seconds after which a batch that is not over expires.
        batch_limits: what is taken of files and batches.
        clock: seconds that never go back, for limits and rows.
        on_post: called with the row of each POST as it is entered, before anything is written, in
            the event loop's thread.

    Raises:
        ValueError: the keys contradict each other, or there is no such form of usage.
        OSError: the port is taken, or the ledger cannot be opened.
    """

    def __init__(
        self,
        keys: Sequence[SimKey] = (SimKey("test"),),
        *,
        seed: int = 0,
        latency: Latency | float = 0.0,
        faults: Sequence[Fault] = (),
        context_tokens: int = 128_000,
        usage_forms: Mapping[str, str] = _NO_FORMS,
        extra_parameters: Collection[str] = (),
        ledger_path: str | None = None,
        port: int = 0,
        batch_seconds: float = 0.4,
        batch_window_s: float = 86_400.0,
        batch_limits: BatchLimits = _LIMITS,
        clock: Callable[[], float] = time.monotonic,
        on_post: Callable[[Row], None] | None = None,
    ) -> None:
        unknown = set(usage_forms.values()) - USAGE_FORMS.keys()
        if unknown:
            known = ", ".join(USAGE_FORMS)
            raise ValueError(f"no form of usage is called {min(unknown)!r}; known: {known}")
        keyring = Keyring(keys, clock)
        self.keys = tuple(keys)
        self.script = FaultScript(faults, seed)
        # The port is taken before the file is opened: a failure leaves nothing open.
        self._socket = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        try:
            self.ledger = Ledger(ledger_path, clock)
        except OSError:
            self._socket.close()
            raise
        self._loop = asyncio.new_event_loop()
        self._address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        #: How batches go.
        self.batch_controls = BatchControls(seconds=batch_seconds, window_s=batch_window_s)
        # Files and batches have dates, which go as the clock goes.
        epoch_s = time.time() - clock()
        environment = Environment(
            seed=seed,
            context_tokens=context_tokens,
            usage_forms=usage_forms,
            extra_parameters=extra_parameters,
            latency=latency if isinstance(latency, Latency) else Latency(latency),
            script=self.script,
            ledger=self.ledger,
            batch_controls=self.batch_controls,
            batch_limits=batch_limits,
            clock=clock,
            now_s=lambda: epoch_s + clock(),
            later=self._loop.call_later,
        )
        self._service = Service(environment, keyring, on_post)
        #: What is kept at the provider now.
        self.files = self._service.files
        #: All batches that were created.
        self.batches = self._service.batches
        self._stop_asked = asyncio.Event()
        self._thread = threading.Thread(
            target=lambda: self._loop.run_until_complete(self._serve()),
            name="simulator",
            daemon=True,
        )

    @property
    def url(self) -> str:
        """The base URL for clients of OpenAI, with "/v1"."""
        return f"{self._address}/v1"

    @property
    def azure_endpoint(self) -> str:
        """The endpoint for clients of Azure."""
        return self._address

    def start(self) -> None:
        """Serve, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Break off all connections and write the ledger's file; may be called more than once."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop_asked.set)
            self._thread.join()
        if not self._loop.is_closed():
            self._socket.close()
            self._loop.close()
            self.ledger.close()

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    async def _serve(self) -> None:
        from .wire import Wire

        wire = Wire(self._service)
        server = await self._loop.create_server(
            wire.connection, sock=self._socket, backlog=_BACKLOG
        )
        self._flush_again()
        await self._stop_asked.wait()
        await wire.stop()
        server.close()

    def _flush_again(self) -> None:
        self._loop.call_later(_FLUSH_EVERY_S, self._flush_again)
        self.ledger.flush()


def serve(
    simulator: Simulator,
    ready: Callable[[str], None],
    *,
    stop: threading.Event | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM comes or `stop` is set; then stop the simulator.

    Args:
        simulator: not yet started.
        ready: called with the base URL when it serves.
        stop: set by another thread; None: only signals end it. Signals are heard in the main
            thread alone.
    """
    stop = stop or threading.Event()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda *_: stop.set())
    try:
        with simulator:
            ready(simulator.url)
            stop.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
