"""Talk to the simulator about files and batches, as the real client does."""

import json
import time

import openai

AZURE_VERSION = "2024-10-21"


def client(sim, key="good"):
    return openai.OpenAI(base_url=sim.url, api_key=f"sim-{key}", max_retries=0, timeout=40)


def azure_client(sim, key="azure"):
    return openai.AzureOpenAI(
        azure_endpoint=sim.azure_endpoint,
        api_key=f"sim-{key}",
        api_version=AZURE_VERSION,
        max_retries=0,
        timeout=40,
    )


def body(text="Tell me. Or not.", model="gpt-4o-mini", **fields):
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def line(custom_id, asked=None, url="/v1/chat/completions", **fields):
    asked = body() if asked is None else asked
    whole = {"custom_id": custom_id, "method": "POST", "url": url, "body": asked, **fields}
    return json.dumps(whole).encode() + b"\n"


def lines(count, url="/v1/chat/completions", model="gpt-4o-mini"):
    return b"".join(
        line(f"c{number}", body(f"Question {number}. Why?", model), url) for number in range(count)
    )


def upload(api, content, name="in.jsonl", **fields):
    return api.files.create(file=(name, content), purpose="batch", **fields)


def start(api, content, endpoint="/v1/chat/completions", **fields):
    """Upload the content and create a batch of it."""
    file = until(api.files.retrieve, upload(api, content).id, "processed")
    return create(api, file.id, endpoint, **fields)


def create(api, file_id, endpoint="/v1/chat/completions", **fields):
    return api.batches.create(
        input_file_id=file_id, endpoint=endpoint, completion_window="24h", **fields
    )


def until(look, item_id, *statuses):
    """Look at something until it has one of the statuses."""
    end = time.monotonic() + 60
    while (item := look(item_id)).status not in statuses:
        assert time.monotonic() < end, item
        time.sleep(0.005)
    return item


def ended(api, batch):
    return until(api.batches.retrieve, batch.id, "completed", "failed", "expired", "cancelled")


def run(api, content, endpoint="/v1/chat/completions", **fields):
    """Return the batch of this content at its end."""
    return ended(api, start(api, content, endpoint, **fields))


def results(api, file_id):
    """Return the lines of a result file by their custom_id; none when there is no file."""
    if file_id is None:
        return {}
    found = [json.loads(text) for text in api.files.content(file_id).content.splitlines()]
    by_id = {result["custom_id"]: result for result in found}
    assert len(by_id) == len(found)
    return by_id


def issues(batch):
    return [(issue.code, issue.line, issue.param) for issue in batch.errors.data]
