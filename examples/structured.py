"""Answers that are objects: a pydantic class says what is wanted, and checks what came.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python structured.py
"""

import os
from typing import Literal

from pydantic import BaseModel

from openai_parallel_toolkit import ChatModel, InvalidAnswer, multi_process_one

MODEL = os.environ.get("MODEL", "gpt-4o-mini")
PROMPT = "What does this customer feel, and about what?"
REVIEWS = (
    "The kettle boils in a minute and has never leaked.",
    "Two weeks late, and the lid was broken.",
    "It is a kettle.",
)


class Opinion(BaseModel):
    """What is asked about each review."""

    feeling: Literal["good", "bad", "none"]
    about: str


answers = multi_process_one(
    [(PROMPT, review) for review in REVIEWS],
    ChatModel,
    return_exceptions=True,
    max_validation_retries=2,  # an answer that does not fit is asked for again, and paid again
    model=MODEL,
    response_format=Opinion,
)
for review, opinion in zip(REVIEWS, answers, strict=True):
    if isinstance(opinion, InvalidAnswer):
        print(f"{review} -> no answer fitted: {opinion.reason}")
    elif isinstance(opinion, Exception):
        raise opinion
    else:
        print(f"{review} -> {opinion.feeling}: {opinion.about}")
