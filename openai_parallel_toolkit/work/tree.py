"""Enter the output folder step by step, so that nothing is written outside of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from ..errors import UnsafePath
from ..files import Files, Folder, identity, open_below, open_root


class OutputTree:
    """The output folder and what may be written in it."""

    def __init__(
        self, root: str, *, closed: Iterable[str] = (), files: Files | None = None
    ) -> None:
        """Take `root`, which must exist, without its `closed` folders and files.

        Closed are the state folder, the staging folder and the inputs, under any name they have.
        """
        self.root = root
        #: How everything below the root is written.
        self.files = files or Files()
        self._closed = {identity(os.stat(path)) for path in closed}

    def path_of(self, final: str) -> str:
        """Return the path of an output, for reading."""
        return os.path.join(self.root, final)

    def holds(self, final: str) -> bool:
        """Whether something has the name of this output.

        Raises:
            UnsafePath: it is one of the inputs.
        """
        try:
            seen = os.lstat(self.path_of(final))
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._refuse_closed(seen, final)
        return True

    @contextmanager
    def folder(self, path: str, *, sync_all: bool = False) -> Iterator[Folder]:
        """Open a folder below the root ("" is the root), making and syncing what is missing.

        Args:
            sync_all: sync the folders above as well, which a dead process may have made.

        Raises:
            UnsafePath: a link or a file is in the way, or the folder is closed.
        """
        with ExitStack() as opened:
            here = opened.enter_context(open_root(self.root))
            for name in filter(None, path.split("/")):
                if sync_all:
                    self.files.sync_folder(here)
                here = self._enter(here, name)
                opened.callback(os.close, here.fd)
                self._refuse_closed(os.fstat(here.fd), here.path)
            yield here

    def _enter(self, parent: Folder, name: str) -> Folder:
        try:
            return open_below(parent, name)
        except FileNotFoundError:
            self.files.make_folder(parent, name)
            self.files.sync_folder(parent)
            return open_below(parent, name)

    def _refuse_closed(self, seen: os.stat_result, path: str) -> None:
        if identity(seen) in self._closed:
            raise UnsafePath(
                f"{path!r} belongs to the inputs or to the toolkit; outputs may not go there.",
                path=path,
            )
