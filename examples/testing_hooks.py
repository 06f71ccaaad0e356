"""Test your hooks without a key: through a function, or against a server that misbehaves.

Nothing else is needed:

    python testing_hooks.py
"""

import os
import tempfile
import unittest

from folder import Briefs

from openai_parallel_toolkit import APIKeyManager, FakeTransport
from openai_parallel_toolkit.simulator import Fault, SimKey, Simulator


class BriefsTest(unittest.TestCase):
    """Runs the hooks of folder.py over its texts."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = folder.name

    def run_with(self, keys, **settings):
        manager = APIKeyManager(keys)
        self.addCleanup(manager.close)
        job = Briefs(None, "texts", self.out, key_manager=manager, progress=False, **settings)
        return job.run()

    def test_each_text_is_asked_about_twice_and_gives_one_output(self):
        fake = FakeTransport(lambda request, lease: "a short answer")
        summary = self.run_with(["any-text"], transport=fake)
        assert (summary.done, summary.failed) == (5, 0)
        assert len(fake.sent) == 10
        assert os.path.exists(os.path.join(self.out, "birds", "swift.json"))

    def test_errors_of_the_server_and_an_empty_key_cost_nothing(self):
        keys = [SimKey("good"), SimKey("empty", quota="none")]
        with Simulator(keys, seed=7, faults=[Fault("503", at=[1, 4], retry_after=0.1)]) as server:
            given = [{"key": key.secret, "api_base": server.url} for key in keys]
            summary = self.run_with(given)
            assert (summary.done, server.ledger.billed()) == (5, 10)
            self.run_with(given)
            assert server.ledger.billed() == 10  # the second run found all done


if __name__ == "__main__":
    unittest.main()
