"""Load the configuration and check every field of it."""

from .keys import APIKey, GivenKey
from .load import DEFAULT_API_BASE, Settings, load_settings, more_keys

__all__ = ["DEFAULT_API_BASE", "APIKey", "GivenKey", "Settings", "load_settings", "more_keys"]
