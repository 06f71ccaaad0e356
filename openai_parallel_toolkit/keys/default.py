"""The manager that bare calls use: the first one made in this process."""

from __future__ import annotations

from .manager import APIKeyManager


def default_manager() -> APIKeyManager:
    """Return the process's default manager; make one from the environment when there is none.

    Raises:
        ConfigError: there is none, and no key is configured.
    """
    return APIKeyManager._default or _made()


def forget_default_manager() -> None:
    """Let the next manager that is made be the default; for tests and notebooks."""
    with APIKeyManager._default_lock:
        APIKeyManager._default = None


def _made() -> APIKeyManager:
    made = APIKeyManager()
    # Another thread may have been quicker.
    return APIKeyManager._default or made
