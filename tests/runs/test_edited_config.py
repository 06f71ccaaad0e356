"""config.json is edited while a run is on."""

import json

from openai_parallel_toolkit.simulator import SimKey, Simulator


def test_a_key_added_while_a_run_is_on_does_its_share(fixture):
    def on_post(request):
        config = json.loads(fixture.config.read_text())
        if len(config["api_keys"]) == 1:
            config["api_keys"].append({"key": "sim-other", "name": "other"})
            fixture.config.write_text(json.dumps(config))

    keys = [SimKey("good", rpm=4), SimKey("other")]
    with Simulator(keys, seed=7, on_post=on_post) as sim:
        summary = fixture.inputs(12).configure(sim).run()
        assert (summary.done, sim.ledger.billed()) == (12, 12)
        assert sim.ledger.billed("other") >= 4
        assert {key.name for key in summary.keys} == {"good", "other"}
