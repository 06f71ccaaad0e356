"""Figures of a run in Prometheus' text form.

Names follow OpenTelemetry's conventions for generative AI, as Prometheus writes them.
Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics (read 2026-11)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..core.records import OutcomeKind
from ..journal import Status
from ..journal.series import Durations, Series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Edges of the buckets, seconds. Source: as above
_EDGES_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_DURATION = "gen_ai_client_operation_duration_seconds"
_TOKENS = "gen_ai_client_token_usage_tokens_total"
_WAIT = "openai_parallel_toolkit_key_wait_seconds"


def metrics(status: Status, series: Series, told: Mapping[str, Any]) -> str:
    """Return all figures; `told` is what the page shows."""
    return "\n".join((*_lines(status, series, told), ""))


def _lines(status: Status, series: Series, told: Mapping[str, Any]) -> Iterator[str]:
    yield from _head(_DURATION, "histogram", "Time from sending a request to its end.")
    for (key, model), durations in sorted(series.served.items()):
        labels = {"gen_ai_request_model": model, "openai_parallel_toolkit_key": key}
        yield from _histogram(_DURATION, labels, durations)
    yield from _head(_TOKENS, "counter", "Tokens of answers.")
    for model, figures in sorted(status.by_model.items()):
        for kind, count in (
            ("input", figures.prompt_tokens),
            ("output", figures.completion_tokens),
        ):
            labels = {"gen_ai_request_model": model, "gen_ai_token_type": kind}
            yield _sample(_TOKENS, labels, count)
    yield from _head(_WAIT, "histogram", "Time that requests waited for a key.")
    for (model, reason), durations in sorted(series.waited.items()):
        labels = {"gen_ai_request_model": model, "reason": reason or "key"}
        yield from _histogram(_WAIT, labels, durations)
    name = "openai_parallel_toolkit_attempts_total"
    yield from _head(name, "counter", "Requests that were sent, by how they ended.")
    for kind in OutcomeKind:
        count = sum(n for (*_, ended), n in series.ended.items() if ended == kind.value)
        yield _sample(name, {"outcome": kind.value}, count)
    money, work = told["money"], told["work"]
    for name, help, value in (
        ("cost_usd", "Known cost of all runs.", money["known_usd"]),
        ("cost_maybe_usd", "The most that lost answers can have cost.", money["maybe_usd"]),
        ("cost_cap_usd", "max_cost.", money["cap_usd"]),
        ("cost_projected_usd", "What all will cost at this rate.", money["projected_usd"]),
        ("in_flight", "Requests without an end.", money["in_flight"]),
        ("files_total", "Files or lines to work on.", work["total"]),
        ("files_finished", "Of them, those that came to an end.", work["finished"]),
        ("files_failed", "Of them, those that failed.", work["failed"]),
        ("eta_seconds", "Seconds until all is done.", work["eta_s"]),
        ("is_running", "Whether a run is on.", int(told["is_on"])),
        ("is_waiting", "Whether requests wait for a key or for money.", int(bool(told["waiting"]))),
    ):
        if value is not None:
            yield from _head(f"openai_parallel_toolkit_{name}", "gauge", help)
            yield _sample(f"openai_parallel_toolkit_{name}", {}, value)
    name = "openai_parallel_toolkit_key_state"
    yield from _head(name, "gauge", "1 for the state that a key is in.")
    for key in told["keys"]:
        yield _sample(name, {"key": key["name"], "state": key["state"]}, 1)


def _head(name: str, kind: str, help: str) -> tuple[str, str]:
    return f"# HELP {name} {help}", f"# TYPE {name} {kind}"


def _histogram(name: str, labels: Mapping[str, str], durations: Durations) -> Iterator[str]:
    for edge_s in _EDGES_S:
        yield _sample(f"{name}_bucket", {**labels, "le": str(edge_s)}, durations.below(edge_s))
    yield _sample(f"{name}_bucket", {**labels, "le": "+Inf"}, len(durations))
    yield _sample(f"{name}_sum", labels, round(durations.total_s, 3))
    yield _sample(f"{name}_count", labels, len(durations))


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{told}}} {value}" if told else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
