"""Lists that are handed out page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..batches.batch import SimBatch
from ..batches.file_store import StoredFile
from ..completion import RequestView
from ..http_messages import HttpReply, json_reply
from ..refusals import invalid

Item = TypeVar("Item", SimBatch, StoredFile)


def page_of(
    items: Sequence[Item],
    view: RequestView,
    show: Callable[[Item], dict[str, Any]],
    *,
    usual: int,
    most: int,
) -> HttpReply:
    """Return the page that a request's query asks for with `limit` and `after`, or raise Refused.

    `usual` items are on a page when nothing is asked; `most` may be asked.
    """
    query = view.request.query
    limit = query.get("limit", str(usual))
    if not limit.isdecimal() or not 1 <= int(limit) <= most:
        raise invalid(f"Invalid 'limit': a whole number from 1 to {most}.", param="limit")
    ids = [item.id for item in items]
    start = 0
    if (after := query.get("after")) is not None:
        if after not in ids:
            raise invalid(f"Invalid 'after': there is no '{after}'.", param="after")
        start = ids.index(after) + 1
    shown = items[start : start + int(limit)]
    return json_reply(
        200,
        {
            "object": "list",
            "data": [show(item) for item in shown],
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
            "has_more": start + len(shown) < len(items),
        },
    )


def lifetime_s(after: object, param: str) -> float | None:
    """Return the seconds that an `expires_after` object asks for; None: there is none.

    All but `{"anchor": "created_at", "seconds": 3600 to 2592000}` is Refused.
    """
    if after is None:
        return None
    seconds = after.get("seconds") if isinstance(after, dict) else None
    is_right = isinstance(seconds, int) and 3600 <= seconds <= 2_592_000
    if not is_right or after.get("anchor") != "created_at":  # type: ignore[attr-defined]
        raise invalid(f"Invalid value for '{param}'.", param=param, code="invalid_value")
    return float(seconds)  # type: ignore[arg-type]
