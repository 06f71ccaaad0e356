"""Read multipart/form-data, the form in which files are uploaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form with at most one file in it."""

    fields: Mapping[str, str]
    #: None: no file was sent.
    file_name: str | None
    content: bytes


def is_form(content_type: str) -> bool:
    """Return whether a Content-Type announces a form."""
    return content_type.lower().startswith("multipart/form-data")


def read_form(content_type: str, body: bytes) -> Form:
    """Return the form that `body` holds.

    Raises:
        ValueError: it is no form.
    """
    boundary = _headers(f"Content-Type: {content_type}").get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise ValueError("the Content-Type names no boundary")
    mark = b"\r\n--" + boundary.encode("latin-1")
    fields: dict[str, str] = {}
    file_name, content = None, b""
    # The first mark has no line end before it.
    start = len(mark) - 2
    if not body.startswith(mark[2:]):
        raise ValueError("the body does not begin with the boundary")
    while not body.startswith(b"--", start):
        head_end = body.find(b"\r\n\r\n", start)
        # A part without content has its head's empty line right before the mark.
        end = body.find(mark, head_end + 2)
        if head_end < 0 or end < 0:
            raise ValueError("a part does not end")
        head = _headers(body[start + 2 : head_end].decode("utf-8"))
        name = head.get_param("name", header="content-disposition")
        part = body[head_end + 4 : end]
        if (part_name := head.get_filename()) is not None:
            file_name, content = part_name, part
        elif isinstance(name, str):
            fields[name] = part.decode("utf-8")
        start = end + len(mark)
    return Form(fields=fields, file_name=file_name, content=content)


def _headers(text: str) -> Message:
    message = Message()
    for line in text.split("\r\n"):
        name, _, value = line.partition(":")
        message[name] = value.strip()
    return message
