"""A folder of ready-made Batch API files in; results, metadata and what failed out.

One of the three files has a line that is no JSON: it is found before anything is sent.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python batch_folder.py
"""

import json
import os
from pathlib import Path

from openai_parallel_toolkit import BatchFolder

MODEL = os.environ.get("MODEL", "gpt-4o-mini")
HERE = Path("out/batch_folder")


def line(name, text):
    """One request: its custom_id comes back with the answer."""
    message = {"role": "user", "content": f"Say in one sentence what this is about.\n\n{text}"}
    body = {"model": MODEL, "messages": [message]}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def make_inputs():
    """Two files with the texts of a folder each, and a broken one."""
    for name, folder in (("all.jsonl", "texts"), ("nested/birds.jsonl", "texts/birds")):
        target = HERE / "in" / name
        target.parent.mkdir(parents=True)
        lines = [line(path.stem, path.read_text()) for path in sorted(Path(folder).glob("*.txt"))]
        target.write_text("".join(json.dumps(one) + "\n" for one in lines))
    (HERE / "in" / "broken.jsonl").write_text("this is no JSON\n")


if __name__ == "__main__":
    if not HERE.exists():
        make_inputs()
    summary = BatchFolder(
        input_path=HERE / "in",  # inputs are moved from here when they are done
        output_path=HERE / "results",
        error_path=HERE / "errors",
        fail_on_error=False,  # what failed is shown below
    ).run()
    for path in sorted(HERE.glob("errors/*/*_error.jsonl")):
        print(path.name, path.read_text(), end="")
