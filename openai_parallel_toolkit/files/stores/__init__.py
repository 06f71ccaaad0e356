"""Read and write files by name, on this machine or in an object store."""

from .base import Store, StoredObject
from .local import LocalStore
from .opening import open_store
from .urls import is_remote

__all__ = ["LocalStore", "Store", "StoredObject", "is_remote", "open_store"]
