"""One flagged text takes no key out; a key that refuses everything goes."""

import logging

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from keys_fixture import OK, OVERLOADED, Asked, key, manager_of

from openai_parallel_toolkit.core.errors import NoUsableKey
from openai_parallel_toolkit.core.records import Need, Outcome, OutcomeKind, Suspect

FORBIDDEN = Outcome(kind=OutcomeKind.REJECTED, status=403, message="flagged", suspect=Suspect.MODEL)
UNPAID = Outcome(kind=OutcomeKind.REJECTED, status=402, message="pay", suspect=Suspect.KEY)
BAD = Outcome(kind=OutcomeKind.REJECTED, status=400, message="bad", suspect=Suspect.NOBODY)
TOO_LONG = Outcome(kind=OutcomeKind.REJECTED, status=400, code="context_length_exceeded")
PAGE = Outcome(
    kind=OutcomeKind.UNKNOWN, status=200, code="web_page", message="a page", suspect=Suspect.ADDRESS
)
NOWHERE = Outcome(
    kind=OutcomeKind.REJECTED, status=404, message="Not Found", suspect=Suspect.ADDRESS
)


def text(name, model="m", avoid=""):
    return Need(model=model, tokens=10, request_hash=name, avoid=avoid)


def told(manager, name, outcome, model="m", avoid=""):
    """Send one request and return what the keys make of its end, and whose key it had."""
    lease = manager.lease(text(name, model, avoid), timeout_s=0)
    return manager.settle(lease, outcome), lease.key_name


def state_of(manager, name="key-1"):
    return next(status.state for status in manager.status() if status.name == name)


# -- one key ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [FORBIDDEN, UNPAID, BAD])
def test_one_refusal_is_its_requests_own_however_often_that_is_asked(refusal):
    manager = manager_of(1)
    for _ in range(5):
        judged, _ = told(manager, "flagged", refusal)
        assert (judged.kind, judged.suspect) == (OutcomeKind.REJECTED, None)
    assert state_of(manager) == "alive"
    assert told(manager, "fine", OK)[0].kind is OutcomeKind.OK


def test_a_second_different_request_that_is_refused_alike_takes_the_model_from_the_key(caplog):
    manager = manager_of(1)
    told(manager, "one", FORBIDDEN)
    assert told(manager, "two", FORBIDDEN)[0].kind is OutcomeKind.NOT_HERE
    with pytest.raises(NoUsableKey, match="403: flagged"):
        manager.lease(text("three"))
    assert told(manager, "four", OK, model="other")[1] == "key-1"
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "key-1 does not have m: 403: flagged" in warnings[0]


def test_a_second_different_request_that_is_to_be_paid_first_takes_the_key():
    manager = manager_of(1)
    told(manager, "one", UNPAID, model="m")
    assert told(manager, "two", UNPAID, model="other")[0].kind is OutcomeKind.KEY_DEAD
    assert manager.dropped() == {"key-1": "402: pay"}


@pytest.mark.parametrize("refusal", [FORBIDDEN, UNPAID])
def test_a_success_between_two_refusals_clears_the_key(refusal):
    manager = manager_of(1)
    for name in "abcdef":
        assert told(manager, name, refusal)[0].kind is OutcomeKind.REJECTED
        told(manager, f"fine {name}", OK)
    assert state_of(manager) == "alive"


def test_a_success_with_another_model_says_nothing_of_this_one():
    manager = manager_of(1)
    told(manager, "one", FORBIDDEN)
    told(manager, "fine", OK, model="other")
    assert told(manager, "two", FORBIDDEN)[0].kind is OutcomeKind.NOT_HERE


def test_two_refusals_that_differ_say_nothing_of_the_key():
    manager = manager_of(1)
    for code in ("a", "b", "a", "b"):
        refusal = Outcome(kind=OutcomeKind.REJECTED, status=403, code=code, suspect=Suspect.MODEL)
        assert told(manager, f"text {code}", refusal)[0].kind is OutcomeKind.REJECTED


def test_bad_requests_are_never_the_fault_of_the_only_key():
    manager = manager_of(1)
    for name in "abcdef":
        assert told(manager, name, BAD)[0].kind is OutcomeKind.REJECTED
    assert state_of(manager) == "alive"


def test_many_refusals_of_what_was_on_its_way_count_once():
    manager = manager_of(1)
    leases = [manager.lease(text(f"text {n}")) for n in range(6)]
    for lease in leases[:5]:
        assert manager.settle(lease, FORBIDDEN).kind is OutcomeKind.REJECTED
    manager.settle(leases[5], OK)
    assert told(manager, "more", OK)[1] == "key-1"


def test_after_a_refusal_a_key_gets_one_request_at_a_time_until_one_succeeds():
    manager = manager_of(1)
    flagged, good, other = (manager.lease(text(name)) for name in ("flagged", "good", "other"))
    manager.settle(flagged, FORBIDDEN)
    waiting = [Asked(manager, text(name)) for name in "xyz"]
    free = Asked(manager, text("free", model="another"))
    assert (free.key_name, waiting[0].lease) == ("key-1", None)
    assert "wait for one answer after a refusal" in manager.waiting_on().reason
    manager.settle(good, OVERLOADED)
    assert waiting[0].lease is None
    manager.settle(other, OK)
    assert [one.key_name for one in waiting] == ["key-1"] * 3


def test_restoring_a_key_forgets_what_it_refused():
    manager = manager_of(1)
    told(manager, "one", FORBIDDEN)
    told(manager, "two", FORBIDDEN)
    manager.restore("key-1")
    assert told(manager, "three", FORBIDDEN)[0].kind is OutcomeKind.REJECTED


# -- several keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [FORBIDDEN, UNPAID, BAD])
def test_a_text_that_two_keys_refuse_is_at_fault_itself(refusal):
    manager = manager_of(3)
    judged, first = told(manager, "flagged", refusal)
    assert judged.suspect is refusal.suspect
    judged, second = told(manager, "flagged", refusal, avoid=first)
    assert (judged.kind, judged.suspect) == (OutcomeKind.REJECTED, None)
    assert first != second


def test_two_flagged_texts_in_a_row_cost_no_key():
    manager = manager_of(3)
    for name in ("one", "two", "three"):
        _, first = told(manager, name, FORBIDDEN)
        assert told(manager, name, FORBIDDEN, avoid=first)[0].kind is OutcomeKind.REJECTED
    assert [told(manager, f"fine {n}", OK)[1] for n in range(3)] == ["key-1", "key-2", "key-3"]


@pytest.mark.parametrize("refusal", [FORBIDDEN, UNPAID, BAD])
def test_a_key_that_refuses_what_others_take_is_out_at_its_second_refusal(refusal):
    manager = manager_of(2)
    refused = 0
    for number in range(10):
        name = f"text {number}"
        lease = manager.lease(text(name), timeout_s=0)
        while lease.key_name == "key-1":
            refused += 1
            judged = manager.settle(lease, refusal)
            lease = manager.lease(text(name, avoid="key-1" if judged.suspect else ""))
        assert manager.settle(lease, OK).kind is OutcomeKind.OK
    assert refused == 2


@pytest.mark.parametrize("keys", [1, 2, 3, 5])
def test_accounts_that_are_all_empty_end_the_work_soon(keys):
    manager, sent, number, avoid = manager_of(keys), 0, 0, ""
    while manager.has_usable():
        judged, used = told(manager, f"text {number}", UNPAID, avoid=avoid)
        sent += 1
        avoid = used if judged.suspect else ""
        number += judged.suspect is None
    assert sent <= 5 * keys
    assert set(manager.dropped().values()) == {"402: pay"}


def test_a_request_that_waits_for_another_key_holds_up_nobody_else():
    manager = manager_of(key("a"), key("b", max_concurrent_requests=1))
    flagged = manager.lease(text("flagged"))
    busy = manager.lease(text("busy"))
    assert (flagged.key_name, busy.key_name) == ("a", "b")
    manager.settle(flagged, FORBIDDEN)
    again = Asked(manager, text("flagged", avoid="a"))
    assert again.lease is None
    assert Asked(manager, text("next")).key_name == "a"
    manager.settle(busy, OK)
    assert again.key_name == "b"


def test_when_the_other_keys_die_meanwhile_it_is_told_why():
    manager = manager_of(key("a"), key("b", max_concurrent_requests=1))
    _, first = told(manager, "flagged", FORBIDDEN)
    busy = manager.lease(text("busy"))
    again = Asked(manager, text("flagged", avoid=first))
    manager.settle(busy, Outcome(kind=OutcomeKind.KEY_DEAD, status=401, code="invalid_api_key"))
    with pytest.raises(NoUsableKey) as caught:
        again.wait()
    assert caught.value.reasons == {"a": "refused the request", "b": "401 invalid_api_key"}


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nothing", "kinds"),
    [(PAGE, (OutcomeKind.UNSENT, OutcomeKind.KEY_DEAD)), (NOWHERE, (OutcomeKind.KEY_DEAD,))],
)
@pytest.mark.parametrize("second", ["one", "two"])
def test_an_address_without_an_api_is_given_up(nothing, kinds, second):
    """At once where no such path is known; at the second web page, for the first may pass."""
    manager = manager_of(key("a", api_base="https://x.example"))
    for hash, kind in zip(("one", second), kinds, strict=False):
        judged, _ = told(manager, hash, nothing)
        assert (judged.kind, judged.suspect) == (kind, None)
    with pytest.raises(NoUsableKey, match=r"a: .*https://x\.example.*check api_base"):
        manager.lease(text("three"))


def test_keys_with_another_address_do_the_work():
    manager = manager_of(key("a", api_base="https://page.example"), key("b"))
    judged, first = told(manager, "one", PAGE)
    assert (judged.suspect, first) == (Suspect.ADDRESS, "a")
    assert told(manager, "one", OK, avoid="a")[1] == "b"
    assert told(manager, "two", PAGE)[0].kind is OutcomeKind.KEY_DEAD
    assert [told(manager, f"more {n}", OK)[1] for n in range(3)] == ["b"] * 3


@pytest.mark.parametrize("api", [OK, TOO_LONG, FORBIDDEN])
def test_where_an_api_has_spoken_a_page_is_an_answer_that_was_lost(api):
    manager = manager_of(1)
    told(manager, "first", api)
    told(manager, "fine", OK)
    for name in "abcdef":
        judged, _ = told(manager, name, PAGE)
        assert (judged.kind, judged.suspect) == (OutcomeKind.UNKNOWN, None)
    assert state_of(manager) == "alive"


def test_where_an_api_has_spoken_a_path_that_is_missing_is_missing_for_one_model():
    manager = manager_of(1)
    told(manager, "fine", OK)
    told(manager, "one", NOWHERE, model="embedder")
    assert told(manager, "two", NOWHERE, model="embedder")[0].kind is OutcomeKind.NOT_HERE
    assert told(manager, "three", OK)[1] == "key-1"


@pytest.mark.parametrize(
    "trouble",
    [
        Outcome(kind=OutcomeKind.BUSY, status=502, code="web_page"),
        Outcome(kind=OutcomeKind.UNSENT),
        Outcome(kind=OutcomeKind.UNKNOWN, code="read"),
    ],
)
def test_a_gateways_trouble_is_no_sign_of_an_api(trouble):
    manager = manager_of(1)
    told(manager, "first", trouble)
    told(manager, "one", PAGE)
    assert told(manager, "two", PAGE)[0].kind is OutcomeKind.KEY_DEAD


# -- any story -------------------------------------------------------------------------------------

MODELS, TEXTS = ("m", "n"), ("t1", "t2", "t3", "t4")


class Suspecting(RuleBasedStateMachine):
    """Keys of which some refuse a model or everything, and texts of which some are flagged."""

    def __init__(self):
        super().__init__()
        self.manager = manager_of(3)
        self.succeeded = set()
        #: Different texts that each key has refused with each model since its last success there.
        self.refused = {}

    @rule(
        name=st.sampled_from(TEXTS),
        model=st.sampled_from(MODELS),
        ends=st.lists(
            st.sampled_from([FORBIDDEN, FORBIDDEN, UNPAID, BAD, OK]), min_size=9, max_size=9
        ),
    )
    def ask(self, name, model, ends):
        avoid, taken, sends = "", set(), 0
        while True:
            try:
                lease = self.manager.lease(text(name, model, avoid), timeout_s=0)
            except NoUsableKey:
                assert not any(self.can_serve(n, model) for n in self.names() if n != avoid)
                return
            used, end = lease.key_name, ends[sends]
            assert used != avoid
            judged = self.manager.settle(lease, end)
            sends += 1
            self.note(used, model, name, end)
            if judged.kind in {OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE}:
                taken.add((used, judged.kind))
                self.check_blame(used, model, end)
            elif judged.suspect is None:
                break
            else:
                assert not avoid, "a request is asked under another key once"
                avoid = used
        assert sends <= 2 + len(taken), "and never more often than it takes keys out"

    @rule(number=st.integers(1, 3))
    def restore(self, number):
        name = f"key-{number}"
        self.manager.restore(name)
        self.refused = {place: t for place, t in self.refused.items() if place[0] != name}

    def names(self):
        return [status.name for status in self.manager.status()]

    def can_serve(self, name, model):
        return self.manager._pool.states[name].can_ever_serve(Need(model=model, tokens=0))

    def note(self, used, model, name, end):
        if end is OK:
            for place in ((used, model), (used, "")):
                self.refused.pop(place, None)
        else:
            place = (used, "" if end is UNPAID else model)
            self.refused.setdefault(place, set()).add(name)

    def check_blame(self, used, model, end):
        place = (used, "" if end is UNPAID else model)
        assert len(self.refused[place]) >= 2, "one text never takes a key out"

    @invariant()
    def no_request_is_held(self):
        assert self.manager.counts().in_flight == 0
        assert self.manager.counts().waiting == 0


TestSuspecting = Suspecting.TestCase
TestSuspecting.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)
