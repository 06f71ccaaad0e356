"""A journal in memory, or in a file of lines for processes that are killed; a recording Files."""

import json
import math
import os

from openai_parallel_toolkit.core.errors import StorageError
from openai_parallel_toolkit.core.filesystem import Files
from openai_parallel_toolkit.core.records import FileState, OutputFile, Record


class FakeJournal:
    def __init__(self, path=None, log=None):
        self.path = path
        self.log = log if log is not None else []
        self.ids = {}
        self.states = {}
        self.finals = {}
        self.open_intents = {}
        self.owners = {}
        self.refuse = {}  # id -> error given to its next commit
        if path is not None and os.path.exists(path):
            with open(path) as lines:
                for line in lines:
                    self._apply(*json.loads(line))

    def id_of(self, path):
        if path not in self.ids:
            self._note("id", path, len(self.ids) + 1)
        return self.ids[path]

    def records_in(self, folder):
        rows = []
        for path, file_id in self.ids.items():
            parent, name = os.path.split(path)
            if parent == folder and file_id in self.states:
                finals = tuple(self.finals.get(file_id, ()))
                rows.append(Record(name, self.states[file_id], finals))
        return iter(sorted(rows, key=lambda row: row[0]))

    def is_let_go(self, record):
        return False

    def last_wall_s(self):
        """No output is younger than what this journal knows."""
        return math.inf

    def suffixes(self):
        return ()

    def count_as_done(self, path, outputs, signature):
        self.put(path, "done", tuple(output.final for output in outputs))

    def put(self, path, state, finals=()):
        """Make the journal know a file."""
        file_id = self.id_of(path)
        self.states[file_id] = FileState(state)
        self.finals[file_id] = finals

    def owner_of_output(self, final):
        return self.owners.get(final)

    def intent(self, file_id, outputs, done, lines=None):
        rows = [[o.staged, o.final, o.size_bytes, o.sha256] for o in outputs]
        self._commit(file_id, done, "intent", file_id, rows)

    def done_file(self, file_id, hooks_version, input_signature, done):
        self._commit(file_id, done, "done", file_id, None)

    def intents(self):
        paths = {file_id: path for path, file_id in self.ids.items()}
        for file_id, outputs in self.open_intents.items():
            yield file_id, paths[file_id], outputs

    def _commit(self, file_id, done, *event):
        error = self.refuse.pop(file_id, None)
        if error is None:
            self._note(*event)
        done(error)

    def _note(self, *event):
        if self.path is not None:
            with open(self.path, "a") as lines:
                lines.write(json.dumps(event) + "\n")
        self._apply(*event)

    def _apply(self, kind, what, value):
        self.log.append((kind, what, value))
        if kind == "id":
            self.ids[what] = value
        elif kind == "intent":
            keys = ("staged", "final", "size_bytes", "sha256")
            outputs = [OutputFile(**dict(zip(keys, row, strict=True))) for row in value]
            self.open_intents[what] = outputs
            self.states[what] = FileState.INTENT
            self.finals[what] = tuple(o.final for o in outputs)
            self.owners.update({o.final: what for o in outputs})
        elif kind == "done":
            self.open_intents.pop(what, None)
            self.states[what] = FileState.DONE


class RecordingFiles(Files):
    """Does the real thing and notes it, in order, as paths."""

    def __init__(self, log):
        self.log = log

    def sync(self, path):
        super().sync(path)
        self.log.append(("sync", path))

    def sync_folder(self, folder):
        super().sync_folder(folder)
        self.log.append(("sync_folder", folder.path))

    def make_folder(self, parent, name):
        super().make_folder(parent, name)
        self.log.append(("mkdir", os.path.join(parent.path, name)))

    def move(self, source, folder, name):
        super().move(source, folder, name)
        self.log.append(("move", source, os.path.join(folder.path, name)))


class RefusingFiles(Files):
    """Raises OSError(errno) for the actions on paths that `refuses` names."""

    def __init__(self, errno, action, part):
        self.errno, self.action, self.part = errno, action, part

    def _look(self, action, path):
        if action == self.action and self.part in path:
            raise OSError(self.errno, os.strerror(self.errno), path)

    def sync(self, path):
        self._look("sync", path)
        super().sync(path)

    def move(self, source, folder, name):
        self._look("move", os.path.join(folder.path, name))
        super().move(source, folder, name)

    def sync_folder(self, folder):
        self._look("sync_folder", folder.path)
        super().sync_folder(folder)


def storage_refusal():
    return StorageError("The journal's disk is full.", errno=28, path="journal")
