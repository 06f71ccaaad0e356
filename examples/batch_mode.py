"""The hooks of folder.py at half price: their requests go through the Batch API.

Stop it and start it again whenever you like: batches that are at work are taken over.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python batch_mode.py
"""

from folder import Briefs

from openai_parallel_toolkit import BatchOptions

if __name__ == "__main__":
    Briefs(
        config_path=None,
        input_path="texts",
        output_path="out/batch_mode",
        mode="batch",
        finish="live",  # what a batch comes back without is sent at once, at the full price
        batch=BatchOptions(poll_s=1.0),  # with a real provider leave it: batches take minutes
    ).run()
