"""A request that is not for an answer of a model: to a list, a file or a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .drafts import json_object
from .http1 import HttpRequest, Reply
from .keys import Account
from .multipart import Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What somebody with a key wants done."""

    account: Account
    request: HttpRequest
    #: What stood in the places of a path's braces.
    names: Mapping[str, str]
    is_azure: bool
    #: None: the body is no form.
    form: Form | None

    def fields(self) -> dict[str, Any]:
        """Return the body, a JSON object.

        Raises:
            Refused: it is none.
        """
        return json_object(self.request.body)


#: Does an errand, which costs nothing. Raises Refused when it cannot be done.
Desk = Callable[[Errand], Reply]
