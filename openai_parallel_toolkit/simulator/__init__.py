"""An OpenAI look-alike on loopback that can be told to misbehave and that keeps a bill.

    with Simulator([SimKey("good"), SimKey("empty", quota="none")], seed=7) as sim:
        client = openai.OpenAI(base_url=sim.url, api_key="sim-good", max_retries=0)
        ...
        assert sim.ledger.billed("good") == 1

Where to read on: `server` runs it, `service` decides on each request and keeps the bill, `routes`
is the table of endpoints, `batches` leads batches through their lives, `faults` holds the rules of
what goes wrong and `wire` plays them.
"""

from .batches.controls import BatchCourse, BatchLimits
from .faults import Fault
from .keys import SimKey
from .latency import Latency
from .ledger import Ledger, Row
from .server import Simulator, serve

__all__ = [
    "BatchCourse",
    "BatchLimits",
    "Fault",
    "Latency",
    "Ledger",
    "Row",
    "SimKey",
    "Simulator",
    "serve",
]
