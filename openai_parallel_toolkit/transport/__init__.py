"""Carry one request to a provider and bring back its whole reply, or say what went wrong."""

from .base import SendFault, Transport
from .default import default_transport, new_event_loop
from .fake import FakeTransport

__all__ = ["FakeTransport", "SendFault", "Transport", "default_transport", "new_event_loop"]
