"""A folder of inputs, an output folder and all that works on them, for one test."""

import os
import threading
from types import SimpleNamespace

from work_fakes import FakeJournal

from openai_parallel_toolkit.files.inputs import LocalInputs
from openai_parallel_toolkit.files.match import Layout, Selection
from openai_parallel_toolkit.files.output_tree import OutputTree
from openai_parallel_toolkit.files.publish import Finished, Publisher, roll_forward
from openai_parallel_toolkit.files.scan import scan
from openai_parallel_toolkit.files.staging import Staging


class WorkFixture:
    def __init__(self, root, journal=None, files=None):
        self.root = str(root)
        self.input = os.path.join(self.root, "in")
        self.output = os.path.join(self.root, "out")
        self.state = os.path.join(self.output, ".openai_parallel_toolkit")
        for folder in (self.input, self.state):
            os.makedirs(folder, exist_ok=True)
        self.journal = journal or FakeJournal()
        self.staging = Staging(self.output, self.state)
        self.tree = OutputTree(
            self.output, closed=[self.state, self.staging.root, self.input], files=files
        )
        self.done, self.failed = [], {}
        self._lock = threading.Lock()

    def write_inputs(self, *paths, text="x"):
        for path in paths:
            place = os.path.join(self.input, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "w", encoding="utf-8") as file:
                file.write(text)

    def write_output(self, path, text="there"):
        place = os.path.join(self.output, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w", encoding="utf-8") as file:
            file.write(text)

    def read_output(self, path):
        with open(os.path.join(self.output, path), encoding="utf-8", newline="") as file:
            return file.read()

    def layout(self, **more):
        return Layout(input_root=self.input, output_root=self.output, **more)

    def scan(self, *, layout=None, key=str, in_memory=50_000, **selection):
        return scan(
            layout or self.layout(),
            Selection(**selection),
            state_folder=self.state,
            states=self.journal,
            key=key,
            inputs=LocalInputs(self.input, never=(self.output, self.state)),
            outputs=OutputTree(self.output),
            in_memory=in_memory,
        )

    def due(self, **more):
        plan = self.scan(**more)
        try:
            paths = [due.path for due in plan.due()]
            assert len(paths) == plan.due_count
            return paths
        finally:
            plan.close()

    def publisher(self, **more):
        return Publisher(
            self.tree,
            self.staging,
            self.journal,
            on_done=lambda file: self.done.append(file.path),
            on_failed=lambda file, error: self.failed.__setitem__(file.path, error),
            **more,
        )

    def run_hook(self, path, outputs):
        """Write `outputs` (suffix -> text) as process_output would; return what is finished."""
        staged = self.staging.begin(self.layout().without_ext(path))
        for suffix, text in outputs.items():
            place = staged.path_without_ext + suffix
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        return self.finished(path, staged)

    def finished(self, path, staged, outputs=None):
        return Finished(
            file_id=self.journal.id_of(path),
            path=path,
            staged=staged,
            outputs=staged.collect() if outputs is None else outputs,
            hooks_version="v1",
            input_signature="s1",
        )

    def publish(self, *files, **more):
        publisher = self.publisher(**more)
        for file in files:
            publisher.publish(file)
        publisher.close()
        return publisher

    def roll_forward(self):
        """Start a run; tell which of the dead run's files are done now, and which are due again."""
        found = [path for _, path, _ in self.journal.intents()]
        roll_forward(self.journal, self.staging, self.tree)
        left = {path for _, path, _ in self.journal.intents()}
        return SimpleNamespace(
            done=tuple(path for path in found if path not in left),
            again=tuple(path for path in found if path in left),
        )

    def outputs(self):
        """Relative paths of all visible files in the output folder."""
        found = []
        for folder, folders, files in os.walk(self.output):
            folders[:] = [f for f in folders if not f.startswith(".openai")]
            found += [os.path.relpath(os.path.join(folder, f), self.output) for f in files]
        return sorted(found)
