"""What happens to one call, decided without sending anything."""

from dataclasses import replace
from decimal import Decimal

import pytest

from openai_parallel_toolkit.calls import attempts
from openai_parallel_toolkit.calls.model_parameters import ModelParameters
from openai_parallel_toolkit.calls.models import ChatModel, Gpt35Turbo, request_of
from openai_parallel_toolkit.calls.token_use import TokenUse
from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.core.errors import OutcomeUnknown, RequestFailed, RequestRejected
from openai_parallel_toolkit.core.records import (
    Lease,
    Need,
    Outcome,
    OutcomeKind,
    RawReply,
    Standing,
)
from openai_parallel_toolkit.core.redaction import Secret
from openai_parallel_toolkit.costs.model_price import ModelPrice
from openai_parallel_toolkit.costs.prices import PriceBook
from openai_parallel_toolkit.keys.circuit import Outage
from openai_parallel_toolkit.transport import SendFault

GOOD = RawReply(
    status=200,
    headers={},
    body=b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2}}',
)


def error(status, code="", **headers):
    body = f'{{"error":{{"message":"no","code":"{code}"}}}}'.encode()
    return RawReply(status=status, headers=headers, body=body)


RATE_LIMIT = error(429, "rate_limit_exceeded")
NO_QUOTA = error(429, "insufficient_quota")
OVERLOADED = error(503)
CUT = SendFault("unknown", "body", "the body was cut short")
REFUSED = SendFault("unsent", "connect", "connection refused")


class Chance:
    """Draws the same share each time."""

    def __init__(self, share):
        self.random = lambda: share


class Story:
    """Plays a call against scripted ends and remembers what it was asked to do.

    `share` of the longest pause is taken each time: what chance decides elsewhere. `judge` stands
    for the keys, which put the blame where it belongs.
    """

    def __init__(
        self,
        *ends,
        policy=None,
        send_takes_s=1.0,
        share=0.5,
        request=None,
        judge=lambda o: o,
        prices=None,
    ):
        self.clock = FakeClock()
        self.ends = list(ends)
        self.sends = 0
        self.pauses = []
        self.outcomes = []
        self.timeouts = []
        self.judge = judge
        self.avoided = []
        self.send_takes_s = send_takes_s
        self.steps = attempts.ask(
            request or request_of(Gpt35Turbo("hello")),
            policy or attempts.Policy(),
            prices=prices or PriceBook({}),
            parameters=ModelParameters(),
            token_use=TokenUse(),
            clock=self.clock,
            chance=Chance(share),
            clean=str,
        )

    def play(self):
        told = None
        while True:
            try:
                step = self.steps.send(told)
            except StopIteration as stop:
                return stop.value
            told = self.do(step)

    def do(self, step):
        if isinstance(step, attempts.Admit):
            self.avoided.append(step.need.avoid)
            return Lease(
                id=1,
                key_name=f"key-{len(self.avoided)}",
                secret=Secret("x"),
                api_base="http://localhost",
                need=Need(model="m", tokens=1),
                since_s=0,
            )
        if isinstance(step, attempts.Claim):
            return self.sends + 1
        if isinstance(step, attempts.Send):
            self.sends += 1
            self.timeouts.append(step.timeout_s)
            self.clock.advance(self.send_takes_s)
            return self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(step, attempts.End):
            self.outcomes.append(step.outcome.kind)
            return self.judge(step.outcome)
        if isinstance(step, attempts.Pause):
            self.pauses.append(step.seconds)
            self.clock.advance(step.seconds)
        return None


def test_a_reply_beyond_its_limit_raises_what_the_next_is_held_at():
    dollars = ModelPrice(input_usd=Decimal(0), output_usd=Decimal(1_000_000))
    prices, request = (
        PriceBook({"m": dollars}),
        request_of(ChatModel("m", content="", max_tokens=1)),
    )
    assert prices.max_cost_usd(request) == 1
    Story(GOOD, request=request, prices=prices).play()
    assert prices.max_cost_usd(request) == 2


def test_a_good_answer_is_kept_before_it_is_returned():
    story = Story(GOOD)
    assert story.play().text == "hi"
    assert story.outcomes == [OutcomeKind.OK]


def test_a_rate_limit_sends_again_under_the_next_lease_without_a_pause_and_for_ever():
    story = Story(*[RATE_LIMIT] * 50, GOOD)
    assert story.play().text == "hi"
    assert story.pauses == []
    assert story.sends == 51


def test_a_dead_key_costs_one_hit_and_no_retry():
    story = Story(NO_QUOTA, GOOD, policy=attempts.Policy(max_retries=0, max_unknown=0))
    story.play()
    assert story.outcomes == [OutcomeKind.KEY_DEAD, OutcomeKind.OK]


def nobody_else(outcome):
    """The keys find the request itself at fault, or have no other key for it."""
    return replace(outcome, suspect=None)


def test_a_refusal_that_names_nobody_is_asked_once_more_under_another_key():
    story = Story(error(403), GOOD, policy=attempts.Policy(max_retries=0))
    assert story.play().text == "hi"
    assert story.avoided == ["", "key-1"]
    assert story.pauses == []


def test_where_no_other_key_is_to_be_asked_it_is_the_requests_own():
    story = Story(error(403), GOOD, judge=nobody_else)
    with pytest.raises(RequestRejected, match="no"):
        story.play()
    assert story.sends == 1


def test_when_the_key_is_blamed_the_request_goes_on_as_if_it_had_not_been_refused():
    story = Story(
        error(402),
        GOOD,
        judge=lambda o: replace(o, kind=OutcomeKind.KEY_DEAD, suspect=None) if o.suspect else o,
    )
    assert story.play().text == "hi"
    assert story.avoided == ["", ""]


def test_a_page_where_no_api_was_ever_seen_is_told_as_a_wrong_base_url_and_not_as_billed():
    page = RawReply(status=200, headers={"content-type": "text/html"}, body=b"<html>")
    story = Story(page, judge=lambda o: replace(o, kind=OutcomeKind.UNSENT, suspect=None))
    with pytest.raises(RequestFailed, match="api_base") as caught:
        story.play()
    assert (caught.value.outcome, caught.value.maybe_billed) == (OutcomeKind.UNSENT, 0)
    assert story.sends == 2  # it may have been a passing one


def limited_alone(times):
    """The keys tell that others pass while this one is limited."""
    counts = iter(range(times + 1))

    def judge(outcome):
        return replace(outcome, standing=Standing(answers=9 * next(counts), limits=1))

    return judge


def test_a_request_that_alone_is_limited_again_and_again_is_refused_with_the_providers_words():
    story = Story(RATE_LIMIT, judge=limited_alone(99), send_takes_s=10)
    with pytest.raises(RequestRejected, match=r"while others passed.*429: no") as caught:
        story.play()
    assert (story.sends, caught.value.attempts, caught.value.outcome) == (8, 8, "rejected")
    assert story.pauses == []


def test_where_no_keys_tell_of_others_what_is_too_large_is_refused_at_once():
    message = b'{"error":{"message":"Limit 10, Requested 12","code":"rate_limit_exceeded"}}'
    story = Story(RawReply(status=429, headers={}, body=message))
    with pytest.raises(RequestRejected, match="too large for the limit"):
        story.play()
    assert story.sends == 1


def test_a_refusal_is_never_sent_again():
    story = Story(error(400, "context_length_exceeded"))
    with pytest.raises(RequestRejected) as caught:
        story.play()
    assert story.sends == 1
    assert caught.value.code == "context_length_exceeded"


def test_an_unknown_outcome_is_sent_again_once_by_default_and_counted():
    story = Story(CUT)
    with pytest.raises(OutcomeUnknown) as caught:
        story.play()
    assert story.sends == 2
    assert caught.value.maybe_billed == 2


def test_max_unknown_zero_never_risks_a_second_bill():
    story = Story(CUT, policy=attempts.Policy(max_unknown=0))
    with pytest.raises(OutcomeUnknown):
        story.play()
    assert story.sends == 1


def test_a_reply_whose_headers_cannot_be_read_is_not_paid_twice():
    unreadable = SendFault("unknown", "head", "its headers are longer than 262,144 bytes")
    story = Story(unreadable, policy=attempts.Policy(max_unknown=9))
    with pytest.raises(OutcomeUnknown, match="headers are longer"):
        story.play()
    assert story.sends == 1


class Outages(Story):
    """For `lasts` attempts the server fails everyone; then waiting for it may be given up."""

    lasts = 50
    outage = None

    def do(self, step):
        if isinstance(step, attempts.Admit) and self.outage and self.sends == self.lasts:
            return self.outage
        told = super().do(step)
        is_down = isinstance(step, attempts.End) and self.sends <= self.lasts
        return replace(told, is_outage=True) if is_down else told


@pytest.mark.parametrize("end", [OVERLOADED, REFUSED])
def test_an_outage_costs_no_retry_and_no_pause_of_its_own(end):
    story = Outages(*[end] * 50, GOOD, policy=attempts.Policy(max_retries=0), send_takes_s=0.1)
    assert story.play().text == "hi"
    assert (story.sends, story.pauses) == (51, [])


def test_an_outage_makes_no_doubtful_request_free():
    story = Outages(CUT, policy=attempts.Policy(max_unknown=1))
    with pytest.raises(OutcomeUnknown):
        story.play()
    assert story.sends == 2


def test_an_outage_that_outlasts_the_deadline_is_told_with_what_was_tried():
    failure = Outcome(kind=OutcomeKind.BUSY, status=503, code="busy", message="Loading model")
    story = Outages(OVERLOADED)
    story.lasts = 3
    story.outage = Outage(address="http://a.example:80", lasted_s=1800.0, failure=failure)
    with pytest.raises(RequestFailed) as caught:
        story.play()
    assert (caught.value.attempts, caught.value.status, caught.value.code) == (3, 503, "busy")
    assert str(caught.value) == (
        "request ran out of time (deadline_s) after 3 attempts, status 503: "
        "http://a.example:80 has failed every request for 30 min 0 s (503: Loading model)"
    )


def test_max_retries_caps_what_max_unknown_would_allow():
    story = Story(CUT, policy=attempts.Policy(max_retries=2, max_unknown=9))
    with pytest.raises(RequestFailed) as caught:
        story.play()
    assert story.sends == 3
    assert caught.value.maybe_billed == 3


@pytest.mark.parametrize("end", [OVERLOADED, CUT])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_what_may_be_sent_again_is_so_max_retries_times_with_pauses_that_double(end, share):
    policy = attempts.Policy(max_retries=9, max_unknown=9)
    story = Story(end, policy=policy, share=share)
    with pytest.raises(RequestFailed) as caught:
        story.play()
    assert story.sends == caught.value.attempts == 10
    longest = [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert story.pauses == pytest.approx([share * seconds for seconds in longest])


def test_a_key_is_asked_for_the_tokens_of_the_prompt_and_of_all_replies():
    request = request_of(ChatModel("m", content="hello", max_tokens=100, n=3))
    admit = next(Story(GOOD, request=request).steps)
    assert admit.need.model == "m"
    assert admit.need.tokens == request.prompt_tokens + 300


def test_a_server_that_asks_for_a_pause_gets_it_up_to_ten_minutes():
    story = Story(error(503, **{"retry-after": "7"}), GOOD)
    story.play()
    assert story.pauses == [7.0]
    story = Story(error(503, **{"retry-after": "86400"}), GOOD)
    story.play()
    assert story.pauses == [600.0]


def test_what_was_never_sent_is_tried_until_the_deadline_and_bills_nothing():
    story = Story(REFUSED, policy=attempts.Policy(deadline_s=120, max_retries=0), send_takes_s=0.01)
    with pytest.raises(RequestFailed) as caught:
        story.play()
    assert story.sends > 3
    assert caught.value.maybe_billed == 0
    assert story.clock.now_s() - 1_000 == pytest.approx(120, abs=1)


def test_no_attempt_is_made_that_would_have_no_time():
    policy = attempts.Policy(deadline_s=5, max_retries=1000)
    story = Story(OVERLOADED, policy=policy, send_takes_s=1)
    with pytest.raises(RequestFailed, match="deadline_s"):
        story.play()
    assert min(story.timeouts) > 0
    story = Story(error(503, **{"retry-after": "7"}), policy=attempts.Policy(deadline_s=5))
    with pytest.raises(RequestFailed, match="deadline_s"):
        story.play()
    assert (story.sends, story.pauses) == (1, [])


def test_an_attempt_gets_no_more_time_than_the_call_has_left():
    policy = attempts.Policy(deadline_s=100, request_timeout_s=60)
    story = Story(OVERLOADED, GOOD, policy=policy, send_takes_s=60)
    story.play()
    assert story.timeouts[0] == 60
    assert story.timeouts[1] <= 40


def test_time_spent_waiting_for_a_key_does_not_count_against_the_deadline():
    story = Story(GOOD, policy=attempts.Policy(deadline_s=5))
    admit = next(story.steps)
    story.clock.advance(10_000)
    assert isinstance(admit, attempts.Admit)
    story.steps.send(story.do(admit))
    assert story.steps.send(1).timeout_s == 5
