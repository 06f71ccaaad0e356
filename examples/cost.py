"""Know the cost before you start, and never pass it: `estimate` and `max_cost`.

Prices stand in cost.json, USD per million tokens; without them, OpenAI's list prices count.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python cost.py
"""

from folder import MODEL, Briefs

from openai_parallel_toolkit import BudgetExceeded, ChatModel, request_openai_api

CAP_USD = 0.05


class Haikus(Briefs):
    """Limits its answers: the most that a request can cost is set aside before it is sent."""

    def process_data(self, text):
        model = ChatModel(MODEL, content=text, prompt="A haiku of this.", max_completion_tokens=60)
        return request_openai_api(model, allow_incomplete=True)


if __name__ == "__main__":
    job = Haikus("cost.json", "texts", "out/cost", max_cost=CAP_USD)
    estimate = job.estimate(sample=3)  # these files are done then, and not paid for again
    print(estimate)
    if estimate.cost_usd is None or estimate.cost_usd.likely > CAP_USD:
        raise SystemExit("This may cost more than is allowed; nothing more was asked.")
    try:
        job.run()
    except BudgetExceeded as error:
        print(error, error.summary.left, "files are left")
