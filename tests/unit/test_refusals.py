"""Provider by provider: the forms of its refusals, and whose fault each is.

docs/reference/refusals.md shows the same rows; a test compares them.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.calls.classify import classify
from openai_parallel_toolkit.calls.provider_codes import PROVIDERS, Blame, fault_of, plain
from openai_parallel_toolkit.calls.refusals import provider_words
from openai_parallel_toolkit.core.records import OutcomeKind, RawReply, Suspect

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "refusals.md"

DEAD, HERE, BUSY = "the key is dropped", "the model is not asked of this key again", "waited for"
OWN, LATER = "the request fails", "tried again"
MODEL = "the request fails; a second one: the model"
KEY = "the request fails; a second one: the key"
BASE = "the run stops: api_base"
BAD = "the request fails, unless another key takes it"
#: What is done, by kind, suspect and whether it is a limit.
DONE = {
    (OutcomeKind.KEY_DEAD, None, False): DEAD,
    (OutcomeKind.NOT_HERE, None, False): HERE,
    (OutcomeKind.BUSY, None, True): BUSY,
    (OutcomeKind.BUSY, None, False): LATER,
    (OutcomeKind.REJECTED, None, False): OWN,
    (OutcomeKind.REJECTED, Suspect.MODEL, False): MODEL,
    (OutcomeKind.REJECTED, Suspect.KEY, False): KEY,
    (OutcomeKind.REJECTED, Suspect.NOBODY, False): BAD,
    (OutcomeKind.REJECTED, Suspect.ADDRESS, False): BASE,
    (OutcomeKind.UNKNOWN, Suspect.ADDRESS, False): BASE,
}


def error(**said):
    return {"error": said}


def google(status, reason=None, **said):
    details = [{"reason": reason, "domain": "googleapis.com"}] if reason else []
    return [{"error": {**said, "status": status, **({"details": details} if details else {})}}]


PAGE = "<!doctype html><title>Welcome</title>"
ROWS = [
    # provider, what about, status, body, what is done
    ("OpenAI", "quota", 429, error(type="insufficient_quota", code="insufficient_quota"), DEAD),
    ("OpenAI", "quota", 400, error(code="billing_hard_limit_reached"), DEAD),
    ("OpenAI", "quota", 429, error(code="project_spend_limit_exceeded"), DEAD),
    ("OpenAI", "key", 401, error(code="invalid_api_key"), DEAD),
    ("OpenAI", "key", 401, error(code="account_deactivated"), DEAD),
    ("OpenAI", "key", 403, error(code="unsupported_country_region_territory"), DEAD),
    ("OpenAI", "model", 404, error(type="invalid_request_error", code="model_not_found"), HERE),
    ("OpenAI", "model", 403, error(code="model_not_found"), HERE),
    ("OpenAI", "moderation", 400, error(code="content_policy_violation"), OWN),
    ("OpenAI", "length", 400, error(code="context_length_exceeded"), OWN),
    ("OpenAI", "form", 400, error(type="invalid_request_error", code=None), OWN),
    ("OpenAI", "rate", 429, error(type="tokens", code="rate_limit_exceeded"), BUSY),
    ("OpenAI", "address", 404, error(message="Invalid URL (POST /chat/completions)"), BASE),
    ("Azure OpenAI", "key", 401, error(code="401", message="Access denied"), DEAD),
    ("Azure OpenAI", "model", 404, error(code="DeploymentNotFound"), HERE),
    ("Azure OpenAI", "model", 400, error(code="OperationNotSupported"), HERE),
    (
        "Azure OpenAI",
        "moderation",
        400,
        error(
            code="content_filter",
            status=400,
            innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
        ),
        OWN,
    ),
    ("Azure OpenAI", "rate", 429, error(code="429"), BUSY),
    ("Azure OpenAI", "address", 404, error(code="404", message="Resource not found"), BASE),
    ("Gemini", "key", 400, google("INVALID_ARGUMENT", "API_KEY_INVALID", code=400), DEAD),
    (
        "Gemini",
        "key",
        400,
        google("INVALID_ARGUMENT", message="API key not valid. Please pass a valid API key."),
        DEAD,
    ),
    ("Gemini", "key", 403, google("PERMISSION_DENIED", "SERVICE_DISABLED", code=403), DEAD),
    ("Gemini", "key", 403, google("PERMISSION_DENIED", code=403), MODEL),
    ("Gemini", "quota", 402, google("RESOURCE_EXHAUSTED", code=402), DEAD),
    ("Gemini", "quota", 400, google("FAILED_PRECONDITION", code=400), DEAD),
    ("Gemini", "model", 404, google("NOT_FOUND", code=404), MODEL),
    ("Gemini", "form", 400, google("INVALID_ARGUMENT", code=400), OWN),
    ("Gemini", "rate", 429, google("RESOURCE_EXHAUSTED", code=429), BUSY),
    ("Gemini", "service", 503, google("UNAVAILABLE", code=503), LATER),
    (
        "xAI",
        "key",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect API key provided: xa***el.",
        },
        DEAD,
    ),
    (
        "xAI",
        "quota",
        429,
        {
            "code": "Some resource has been exhausted",
            "error": "Your team 1f-2e has either used all available credits or reached its limit.",
        },
        DEAD,
    ),
    (
        "xAI",
        "quota",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Your newly created team doesn't have any credits or licenses yet.",
        },
        DEAD,
    ),
    (
        "xAI",
        "moderation",
        403,
        {"code": "permission-denied", "error": "Content violates usage guidelines."},
        OWN,
    ),
    ("xAI", "not told", 403, {"code": "permission-denied", "error": "No."}, MODEL),
    (
        "xAI",
        "rate",
        429,
        {"code": "Some resource has been exhausted", "error": "Too many requests"},
        BUSY,
    ),
    ("Mistral", "key", 401, {"message": "Unauthorized", "request_id": "1"}, DEAD),
    ("Mistral", "key", 401, {"detail": "Unauthorized"}, DEAD),
    ("Mistral", "quota", 402, {"object": "error", "message": "Payment required"}, KEY),
    (
        "Mistral",
        "model",
        400,
        {"object": "error", "type": "invalid_model", "param": None, "code": "1500"},
        HERE,
    ),
    ("Mistral", "model", 403, {"object": "error", "code": "unknown_model"}, HERE),
    ("Mistral", "rate", 429, {"object": "error", "type": "rate_limited", "code": "1300"}, BUSY),
    (
        "Mistral",
        "form",
        422,
        {"object": "error", "message": {"detail": [{"type": "missing", "msg": "Field required"}]}},
        OWN,
    ),
    ("Groq", "key", 401, error(type="invalid_request_error", code="invalid_api_key"), DEAD),
    ("Groq", "key", 400, error(code="organization_restricted"), DEAD),
    (
        "Groq",
        "model",
        403,
        error(type="permissions_error", code="model_permission_blocked_org"),
        HERE,
    ),
    ("Groq", "model", 400, error(code="model_decommissioned"), HERE),
    ("Groq", "form", 400, error(code="json_validate_failed"), OWN),
    ("Groq", "rate", 429, error(type="tokens", code="rate_limit_exceeded"), BUSY),
    ("Groq", "size", 413, error(type="tokens", code="rate_limit_exceeded"), OWN),
    ("Groq", "service", 498, error(code="capacity_exceeded"), LATER),
    ("Groq", "address", 404, error(code="unknown_url"), BASE),
    (
        "DeepSeek",
        "quota",
        402,
        error(message="Insufficient Balance", type="unknown_error", code="invalid_request_error"),
        DEAD,
    ),
    ("DeepSeek", "key", 401, error(type="authentication_error"), DEAD),
    ("DeepSeek", "form", 422, error(type="invalid_request_error"), OWN),
    ("DeepSeek", "rate", 429, error(message="Rate limit reached"), BUSY),
    ("Moonshot", "quota", 429, error(type="exceeded_current_quota_error"), DEAD),
    ("Moonshot", "key", 401, error(type="invalid_authentication_error"), DEAD),
    ("Moonshot", "model", 404, error(type="resource_not_found_error"), HERE),
    ("Moonshot", "moderation", 400, error(type="content_filter"), OWN),
    ("Moonshot", "not told", 403, error(type="permission_denied_error"), MODEL),
    ("Moonshot", "rate", 429, error(type="rate_limit_reached_error"), BUSY),
    ("Moonshot", "service", 429, error(type="engine_overloaded_error"), BUSY),
    ("Zhipu", "quota", 429, error(code="1113"), DEAD),
    ("Zhipu", "key", 401, error(code="1002"), DEAD),
    ("Zhipu", "model", 400, error(code="1211"), HERE),
    ("Zhipu", "moderation", 400, error(code=1301), OWN),
    ("Zhipu", "length", 400, error(code="1261"), OWN),
    ("Zhipu", "rate", 429, error(code="1302"), BUSY),
    ("DashScope", "quota", 400, error(code="Arrearage", type="Arrearage"), DEAD),
    ("DashScope", "key", 401, error(code="invalid_api_key"), DEAD),
    (
        "DashScope",
        "key",
        400,
        {"code": "InvalidApiKey", "message": "Invalid", "request_id": "1"},
        DEAD,
    ),
    ("DashScope", "model", 403, error(code="Model.AccessDenied"), HERE),
    ("DashScope", "model", 403, error(code="AllocationQuota.FreeTierOnly"), HERE),
    ("DashScope", "moderation", 400, error(code="data_inspection_failed"), OWN),
    ("DashScope", "not told", 403, error(code="access_denied"), MODEL),
    ("DashScope", "rate", 429, error(code="Throttling.RateQuota"), BUSY),
    ("OpenRouter", "quota", 402, error(code=402, message="Insufficient credits. Add more"), DEAD),
    (
        "OpenRouter",
        "quota",
        402,
        error(code=402, message="This request requires more credits, or fewer max_tokens."),
        KEY,
    ),
    ("OpenRouter", "key", 401, error(code=401, message="User not found."), DEAD),
    ("OpenRouter", "model", 404, error(code=404, message="No endpoints found for x/y."), HERE),
    ("OpenRouter", "model", 400, error(code=400, message="x/y is not a valid model ID"), HERE),
    (
        "OpenRouter",
        "moderation",
        403,
        error(code=403, metadata={"reasons": ["violence"], "flagged_input": "…"}),
        OWN,
    ),
    (
        "OpenRouter",
        "form",
        400,
        error(
            code=400,
            message="Provider returned error",
            metadata={"raw": '{"error": {"type": "invalid_request", "code": "content_filter"}}'},
        ),
        OWN,
    ),
    (
        "OpenRouter",
        "rate",
        429,
        error(code=429, metadata={"raw": '{"error": {"code": "insufficient_quota"}}'}),
        BUSY,
    ),
    ("Together", "quota", 402, error(type="credit_limit", code=None), DEAD),
    ("Together", "key", 401, error(type="invalid_request_error", code="invalid_api_key"), DEAD),
    ("Together", "model", 404, error(code="model_not_available"), HERE),
    ("Together", "length", 403, error(type="invalid_request_error"), MODEL),
    ("Together", "rate", 429, error(type="model_rate_limit"), BUSY),
    (
        "vLLM",
        "model",
        404,
        {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError"},
        HERE,
    ),
    (
        "vLLM",
        "model",
        404,
        error(type="NotFoundError", message="The model `x` does not exist.", code=404),
        HERE,
    ),
    ("vLLM", "key", 401, {"error": "Unauthorized"}, DEAD),
    ("vLLM", "form", 400, {"object": "error", "type": "BadRequestError", "code": 400}, OWN),
    ("vLLM", "address", 404, {"detail": "Not Found"}, BASE),
    ("Ollama", "model", 404, error(message="model 'x' not found", type="not_found_error"), HERE),
    ("llama.cpp", "key", 401, error(type="authentication_error", code=401), DEAD),
    (
        "llama.cpp",
        "address",
        404,
        error(message="File Not Found", type="not_found_error", code=404),
        BASE,
    ),
    ("LiteLLM", "quota", 400, error(type="budget_exceeded", code="400"), DEAD),
    ("LiteLLM", "quota", 429, error(type="budget_exceeded", code="429"), DEAD),
    ("LiteLLM", "key", 400, error(type="expired_key", code="400"), DEAD),
    ("LiteLLM", "key", 401, error(type="token_not_found_in_db", code="401"), DEAD),
    ("LiteLLM", "model", 401, error(type="key_model_access_denied", code="401"), HERE),
    ("LiteLLM", "model", 403, error(type="team_model_access_denied", code="403"), HERE),
    ("LiteLLM", "moderation", 400, error(type="ContentPolicyViolationError", code="400"), OWN),
    ("LiteLLM", "rate", 429, error(type="throttling_error", code="429"), BUSY),
    (
        "new-api, one-api",
        "quota",
        403,
        error(type="new_api_error", code="insufficient_user_quota"),
        DEAD,
    ),
    ("new-api, one-api", "quota", 403, error(code="pre_consume_token_quota_failed"), DEAD),
    (
        "new-api, one-api",
        "quota",
        403,
        error(type="one_api_error", message="该令牌额度已用尽"),
        DEAD,
    ),
    ("new-api, one-api", "key", 401, error(type="new_api_error", message="无效的令牌"), DEAD),
    (
        "new-api, one-api",
        "model",
        403,
        error(type="new_api_error", message="该令牌无权访问模型 gpt-5"),
        HERE,
    ),
    ("new-api, one-api", "moderation", 400, error(code="sensitive_words_detected"), OWN),
    (
        "new-api, one-api",
        "address",
        404,
        error(
            type="invalid_request_error", message="Invalid URL (POST /chat/completions)", code=""
        ),
        BASE,
    ),
    ("new-api, one-api", "address", 200, PAGE, BASE),
    (
        "Anthropic",
        "quota",
        400,
        {
            "type": "error",
            **error(
                type="invalid_request_error",
                message="Your credit balance is too low to access the API.",
            ),
        },
        DEAD,
    ),
    ("Anthropic", "key", 401, {"type": "error", **error(type="authentication_error")}, DEAD),
    (
        "Anthropic",
        "model",
        404,
        {"type": "error", **error(type="not_found_error", message="model: x")},
        HERE,
    ),
    ("Anthropic", "not told", 403, {"type": "error", **error(type="permission_error")}, MODEL),
    ("Anthropic", "service", 529, {"type": "error", **error(type="overloaded_error")}, LATER),
    ("Volcengine Ark", "quota", 403, error(code="AccountOverdueError", type="Forbidden"), DEAD),
    ("Volcengine Ark", "model", 404, error(code="ModelNotOpen", type="NotFound"), HERE),
    ("Volcengine Ark", "moderation", 400, error(code="SensitiveContentDetected"), OWN),
    ("Volcengine Ark", "service", 429, error(code="ServerOverloaded"), BUSY),
    ("MiniMax", "quota", 429, error(type="insufficient_balance_error", http_code="429"), DEAD),
    ("MiniMax", "quota", 200, {"choices": None, "base_resp": {"status_code": 1008}}, DEAD),
    ("MiniMax", "key", 200, {"base_resp": {"status_code": 1004}}, DEAD),
    ("MiniMax", "rate", 200, {"base_resp": {"status_code": 1002}}, BUSY),
    ("MiniMax", "moderation", 200, {"base_resp": {"status_code": 1026}}, OWN),
    ("SiliconFlow", "quota", 403, {"code": 30001, "message": "no balance", "data": None}, DEAD),
    ("SiliconFlow", "model", 400, {"code": 20012, "message": "no model", "data": None}, HERE),
    ("SiliconFlow", "key", 401, '"Invalid token"', DEAD),
    (
        "Fireworks",
        "quota",
        412,
        error(code="PRECONDITION_FAILED", message="Account x is suspended, possibly unpaid."),
        DEAD,
    ),
    ("any other", "quota", 403, {"reason": "NOT_ENOUGH_BALANCE", "code": 403}, DEAD),
    ("any other", "quota", 403, error(code="account_overdue"), DEAD),
    ("any other", "key", 400, {"__type": "com.amazon#ExpiredTokenException"}, DEAD),
    ("any other", "key", 403, {"Response": error(Code="AuthFailure.SecretIdNotFound")}, DEAD),
    ("any other", "key", 200, {"error": True, "code": "access_token_expired"}, DEAD),
    ("any other", "model", 400, error(code="ModelRetired"), HERE),
    ("any other", "moderation", 403, error(code="content_violation"), OWN),
    ("any other", "length", 403, error(code="PromptTooLong"), OWN),
    ("any other", "rate", 400, {"__type": "ThrottlingException"}, BUSY),
    ("any other", "not told", 410, error(message="no"), MODEL),
    ("any other", "not told", 412, error(message="no"), KEY),
    ("any other", "not told", 400, error(message="no"), BAD),
    ("any other", "not told", 402, error(message="no"), KEY),
    ("any other", "not told", 403, "blocked by rule 17", MODEL),
    ("any other", "not told", 404, error(message="no"), MODEL),
    ("any other", "key", 401, "", DEAD),
    ("any other", "size", 413, "", OWN),
    ("any other", "form", 422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, OWN),
    ("any other", "rate", 429, "slow down", BUSY),
    ("any other", "service", 500, error(code="insufficient_quota"), LATER),
    ("any other", "address", 404, "404 page not found", BASE),
    ("any other", "address", 404, PAGE, BASE),
    ("any other", "address", 405, {"detail": "Method Not Allowed"}, BASE),
]


def judged(status, body, **headers):
    if not isinstance(body, str):
        body, headers = json.dumps(body), {"content-type": "application/json", **headers}
    reply = RawReply(status=status, headers=headers, body=body.encode())
    return classify(reply, "/chat/completions", wall_s=0, clean=str)[0]


def done(outcome):
    return DONE[outcome.kind, outcome.suspect, outcome.is_limit]


@pytest.mark.parametrize(("provider", "about", "status", "body", "what"), ROWS)
def test_each_form_has_its_consequence(provider, about, status, body, what):
    assert done(judged(status, body)) == what


def test_the_documentation_shows_these_rows():
    rows = ["| provider | about | status | body | what is done |", "|---|---|---|---|---|"]
    for provider, about, status, body, what in ROWS:
        form = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        shown = f"`{form}`" if form else "empty"
        rows.append(f"| {provider} | {about} | {status} | {shown} | {what} |")
    table = "\n".join(rows)
    assert table in DOCS.read_text(encoding="utf-8"), f"put this table there:\n{table}"


def test_the_documentation_names_every_source():
    text = DOCS.read_text(encoding="utf-8")
    for provider in PROVIDERS:
        for url in provider.source.replace(",", " ").replace(" and ", " ").split():
            assert url in text, f"{provider.name}: {url}"


def test_no_code_means_two_things_but_with_another_status():
    meanings = {}
    for provider in PROVIDERS:
        for fault, codes in provider.codes.items():
            for code in codes.split():
                status, _, word = code.rpartition(":")
                meanings.setdefault((status, plain(word)), set()).add(fault)
    assert not {code: faults for code, faults in meanings.items() if len(faults) > 1}


QUOTA = {"code": "insufficient_user_quota", "message": "no credit is left"}


@pytest.mark.parametrize(
    "body",
    [
        {"error": QUOTA},
        [{"error": QUOTA}],
        {"errors": [QUOTA]},
        QUOTA,
        {"code": QUOTA["code"], "msg": QUOTA["message"]},
        {"detail": QUOTA},
        {"detail": {"error": QUOTA}},
        {"error": {"error": QUOTA, "code": 403}},
        {"error": {"message": json.dumps({"error": QUOTA}), "code": 403}},
        {"error": json.dumps(QUOTA)},
        {"message": json.dumps([{"error": QUOTA}]), "status": 403},
        {"error": {"type": QUOTA["code"], "message": QUOTA["message"], "code": None}},
        {"error": {"status": QUOTA["code"], "message": QUOTA["message"]}},
        {"error": {"details": [{"reason": QUOTA["code"]}], "message": QUOTA["message"]}},
        {"type": "error", "error": {**QUOTA, "type": "api_error"}, "request_id": "1"},
        {"success": False, "error_code": QUOTA["code"], "error_msg": QUOTA["message"]},
        {"Error": {"Code": QUOTA["code"], "Message": QUOTA["message"]}},
        {"ErrorCode": QUOTA["code"], "ErrorMessage": QUOTA["message"]},
        {"title": QUOTA["message"], "status": 403, "type": QUOTA["code"]},
        {"fault": {"faultstring": QUOTA["message"], "detail": {"errorcode": QUOTA["code"]}}},
        {"statusCode": 403, "body": json.dumps(QUOTA)},
    ],
)
def test_the_same_words_are_read_in_every_form(body):
    outcome = judged(403, body)
    assert (outcome.kind, outcome.code) == (OutcomeKind.KEY_DEAD, "insufficient_user_quota")
    assert outcome.message == "no credit is left"


@pytest.mark.parametrize(
    "spelling", ["InvalidApiKey", "invalid_api_key", "invalid-api-key", "INVALID_API_KEY"]
)
def test_spellings_of_a_code_are_one(spelling):
    assert fault_of(spelling) is Blame.KEY
    assert judged(400, error(code=spelling)).kind is OutcomeKind.KEY_DEAD


def test_what_stands_in_the_flagged_text_is_no_word_of_the_provider():
    """A text may speak of money; only how a provider's own message reads counts."""
    said = "flagged: Insufficient Balance, Incorrect API key provided, Insufficient credits"
    assert done(judged(403, error(message=said))) == MODEL
    metadata = {"reasons": ["x"], "flagged_input": "Insufficient Balance"}
    outcome = judged(403, error(message="Insufficient Balance in a text", metadata=metadata))
    assert done(outcome) == OWN
    assert "flagged_input" not in outcome.message


def test_what_a_router_hands_on_is_shown_and_says_nothing_of_our_key():
    raw = json.dumps(error(message="upstream has no money", code="insufficient_quota"))
    outcome = judged(400, error(message="Provider returned error", metadata={"raw": raw}))
    assert outcome.message == "Provider returned error: upstream has no money"
    assert done(outcome) == BAD


def test_a_plain_text_is_shown_as_the_providers_words():
    assert judged(403, "blocked by rule 17").message == "blocked by rule 17"


def test_a_page_is_told_and_not_shown():
    outcome = judged(403, PAGE)
    assert (outcome.code, done(outcome)) == ("web_page", MODEL)
    assert "html" not in outcome.message


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (PAGE, {}),
        ("\n  <HTML><body>hi</body></HTML>", {}),
        ("anything", {"content-type": "text/html; charset=utf-8"}),
    ],
)
def test_a_web_page_is_known_by_its_type_or_its_beginning(body, headers):
    outcome = judged(200, body, **headers)
    assert (outcome.code, outcome.suspect) == ("web_page", Suspect.ADDRESS)
    assert "api_base" in outcome.message


NAMES = [
    *("error", "errors", "code", "type", "message", "detail", "details", "metadata"),
    *("raw", "reasons", "status", "reason", "msg", "innererror"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values, st.integers(300, 599))
def test_any_body_can_be_read(value, status):
    words = provider_words(value)
    assert all(isinstance(code, str) for code in (*words.codes, *words.behind, words.message))
    assert judged(status, json.dumps(value)).kind is not OutcomeKind.OK
