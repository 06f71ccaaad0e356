"""A request, or a line of a batch, as endpoints, rules and rows see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .http_messages import HttpRequest, read_json
from .keys import Account
from .refusals import invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """What somebody with a key wants done."""

    request: HttpRequest
    #: Which POST it is, from 1; 0: it is none.
    ordinal: int = 0
    account: Account
    #: SHA-256 of the body, of the file in a form, or of the path when there is no body.
    digest: bytes
    #: Whether it came over one of Azure's paths.
    is_azure: bool

    @property
    def key_name(self) -> str:
        """Name of its key; "": there is no such key."""
        return self.account.key.name

    @property
    def marked(self) -> bytes:
        """Where rules look for a marker: the body, or the name of an uploaded file."""
        form = self.request.form
        return self.request.body if form is None else (form.file_name or "").encode()

    def fields(self) -> dict[str, Any]:
        """Return the JSON object in its body.

        Raises:
            Refused: it holds none.
        """
        try:
            fields = read_json(self.request.body)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise invalid("We could not parse the JSON body of your request.")
        return fields
