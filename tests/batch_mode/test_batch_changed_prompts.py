"""Prompts of files that were finished by batches are looked at as all others are."""

from batch_fixture import Chain, question

from openai_parallel_toolkit import request_openai_api


class Prompted(Chain):
    prompt = "one"

    def process_data(self, data):
        return request_openai_api(question(f"{self.prompt} {super().process_data(data)}"))


def test_a_changed_prompt_is_told_and_put_into_no_batch(fixture, monkeypatch):
    sim = fixture.simulate()
    fixture.inputs(3).configure(sim).run(Prompted)
    assert fixture.run(Prompted).notices.changed_prompts == 0
    before = sim.ledger.billed("good")
    monkeypatch.setattr(Prompted, "prompt", "two")
    assert fixture.run(Prompted).notices.changed_prompts == 3
    assert fixture.run(Prompted, mode="live").notices.changed_prompts == 3
    assert sim.ledger.billed("good") == before
