"""Whose fault a refusal is, by the codes of those who refuse: one table for live calls and batches.

A word counts wherever a body has it: as code, type, reason or status. Spellings that differ in
case, dots, dashes or underscores are one. `429:x` is the code x with the status 429 alone.
Where a provider has no code, its fixed message stands for one; * in it is anything. A code that is
in no table is known by what codes of its kind are called everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Blame(str, Enum):
    """What a refusal is about; the value is how the documentation calls it."""

    KEY = "the key"
    QUOTA = "the account's money or quota"
    MODEL = "the model under this key"
    LIMIT = "a limit"
    SERVICE = "the service"
    REQUEST = "the request"
    #: The key may not do this, or nobody may do it with this text: only a second one tells.
    ACCESS = "not told"
    #: The server has no API at this place.
    ADDRESS = "api_base"
    #: In batches: too many tokens wait.
    NO_ROOM = "too many tokens in batches"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCodes:
    """What one provider calls its refusals."""

    name: str
    #: Where it says so; read 2026-11.
    source: str
    #: Codes, separated by spaces.
    codes: Mapping[Blame, str] = field(default_factory=dict)
    #: How its fixed messages read, where it has no code.
    phrases: Mapping[Blame, tuple[str, ...]] = field(default_factory=dict)


PROVIDERS = (
    ProviderCodes(
        name="OpenAI",
        source="https://platform.openai.com/docs/guides/error-codes",
        codes={
            Blame.KEY: "account_deactivated invalid_api_key invalid_authentication "
            "invalid_organization ip_not_authorized organization_deactivated access_terminated "
            "unsupported_country_region_territory",
            Blame.QUOTA: "insufficient_quota billing_hard_limit_reached billing_limit_reached "
            "billing_not_active credit_balance_exhausted organization_spend_limit_exceeded "
            "organization_usage_limit_exceeded project_spend_limit_exceeded",
            Blame.MODEL: "model_not_found",
            Blame.LIMIT: "rate_limit_exceeded rate_limit_error",
            Blame.SERVICE: "server_error slow_down",
            Blame.REQUEST: "context_length_exceeded content_policy_violation invalid_prompt "
            "invalid_value invalid_type unsupported_parameter unsupported_value unknown_parameter "
            "missing_required_parameter string_above_max_length invalid_json "
            "previous_response_not_found invalid_image invalid_image_url image_parse_error "
            "invalid_base64_image cyber_policy_violation bio_policy",
        },
        phrases={
            Blame.KEY: ("Incorrect API key provided*",),
            Blame.ADDRESS: ("Invalid URL (*", "Unrecognized request URL*", "Unknown request URL*"),
        },
    ),
    ProviderCodes(
        name="OpenAI's and Azure's batches",
        source="https://platform.openai.com/docs/guides/batch and "
        "https://learn.microsoft.com/azure/ai-services/openai/how-to/batch",
        codes={
            Blame.NO_ROOM: "token_limit_exceeded enqueued_token_limit_exceeded",
            Blame.REQUEST: "duplicate_custom_id empty_batch empty_file file_too_large "
            "invalid_json_line invalid_method invalid_request invalid_url mismatched_model "
            "model_mismatch too_many_tasks url_mismatch",
        },
    ),
    ProviderCodes(
        name="Azure OpenAI",
        source="https://learn.microsoft.com/azure/ai-foundry/openai/how-to/content-filters and "
        "https://learn.microsoft.com/azure/ai-services/openai/reference",
        codes={
            Blame.KEY: "unauthorized PermissionDenied_Network VirtualNetworkFirewall",
            Blame.MODEL: "DeploymentNotFound OperationNotSupported",
            Blame.LIMIT: "RateLimitReached NoCapacity too_many_requests",
            Blame.REQUEST: "content_filter ResponsibleAIPolicyViolation",
        },
        phrases={Blame.ADDRESS: ("Resource not found",)},
    ),
    ProviderCodes(
        name="Gemini (OpenAI's form)",
        source="https://ai.google.dev/gemini-api/docs/troubleshooting and "
        "https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto",
        codes={
            Blame.KEY: "API_KEY_INVALID API_KEY_EXPIRED API_KEY_SERVICE_BLOCKED "
            "API_KEY_HTTP_REFERRER_BLOCKED API_KEY_IP_ADDRESS_BLOCKED SERVICE_DISABLED "
            "CONSUMER_SUSPENDED CONSUMER_INVALID USER_PROJECT_DENIED ACCESS_TOKEN_EXPIRED "
            "CREDENTIALS_MISSING ACCOUNT_STATE_INVALID UNAUTHENTICATED GCP_SUSPENDED",
            Blame.QUOTA: "BILLING_DISABLED FAILED_PRECONDITION 402:RESOURCE_EXHAUSTED",
            Blame.LIMIT: "RESOURCE_EXHAUSTED",
            Blame.SERVICE: "UNAVAILABLE",
            Blame.REQUEST: "OUT_OF_RANGE",
            Blame.ACCESS: "PERMISSION_DENIED",
        },
        phrases={Blame.KEY: ("API key not valid*", "API key expired*", "API Key not found*")},
    ),
    ProviderCodes(
        name="xAI",
        source="https://docs.x.ai/docs/key-information/debugging",
        codes={Blame.ACCESS: "permission-denied"},
        phrases={
            Blame.KEY: ("Incorrect API key provided*", "Access to the chat endpoint is denied*"),
            Blame.QUOTA: (
                "Your team *used all available credits*",
                "Your newly created team* have any credits*",
            ),
            Blame.REQUEST: ("Content violates usage guidelines*",),
        },
    ),
    ProviderCodes(
        name="Mistral",
        source="https://docs.mistral.ai/resources/error-glossary",
        codes={
            Blame.KEY: "authentication_error",
            Blame.MODEL: "invalid_model unknown_model",
            Blame.LIMIT: "rate_limited service_tier_capacity_exceeded",
            Blame.REQUEST: "invalid_request_message_order invalid_request_prompt",
        },
    ),
    ProviderCodes(
        name="Groq",
        source="https://console.groq.com/docs/errors and "
        "https://console.groq.com/docs/model-permissions",
        codes={
            Blame.KEY: "organization_restricted expired_api_key",
            Blame.QUOTA: "blocked_api_access",
            Blame.MODEL: "model_permission_blocked_org model_permission_blocked_project "
            "model_decommissioned model_terms_required",
            Blame.SERVICE: "capacity_exceeded over_capacity",
            Blame.REQUEST: "json_validate_failed tool_use_failed",
            Blame.ADDRESS: "unknown_url",
        },
    ),
    ProviderCodes(
        name="DeepSeek",
        source="https://api-docs.deepseek.com/quick_start/error_codes",
        codes={Blame.QUOTA: "insufficient_balance"},
        phrases={Blame.QUOTA: ("Insufficient Balance",)},
    ),
    ProviderCodes(
        name="Moonshot (Kimi)",
        source="https://platform.kimi.ai/docs/api/errors",
        codes={
            Blame.KEY: "invalid_authentication_error incorrect_api_key_error",
            Blame.QUOTA: "exceeded_current_quota_error",
            Blame.MODEL: "resource_not_found_error",
            Blame.LIMIT: "rate_limit_reached_error",
            Blame.SERVICE: "engine_overloaded_error",
            Blame.ACCESS: "permission_denied_error",
        },
    ),
    ProviderCodes(
        name="Zhipu (BigModel, Z.ai)",
        source="https://docs.bigmodel.cn/cn/api/api-code",
        codes={
            Blame.KEY: "1000 1001 1002 1003 1004 1005 1110 1111 1112 1121",
            Blame.QUOTA: "1113 1309",
            Blame.MODEL: "1211 1212 1220 1221 1222 1311",
            Blame.LIMIT: "1302 1303 1304 1305 1308 1310 1313",
            Blame.SERVICE: "1120 1234 1312",
            Blame.REQUEST: "1210 1213 1214 1215 1261 1301",
        },
    ),
    ProviderCodes(
        name="DashScope (Model Studio)",
        source="https://help.aliyun.com/en/model-studio/error-code",
        codes={
            Blame.KEY: "InvalidApiKey",
            Blame.QUOTA: "Arrearage CommodityNotPurchased PrepaidBillOverdue PostpaidBillOverdue",
            Blame.MODEL: "Model.AccessDenied Model_access_denied ModelNotFound "
            "AllocationQuota.FreeTierOnly Model.Unpurchased",
            Blame.LIMIT: "Throttling Throttling.RateQuota Throttling.BurstRate "
            "Throttling.AllocationQuota LimitRequests limit_burst_rate",
            Blame.SERVICE: "ModelServingError ModelUnavailable",
            Blame.REQUEST: "InvalidParameter invalid_parameter_error DataInspectionFailed "
            "data_inspection_failed",
            Blame.ACCESS: "AccessDenied access_denied",
        },
        phrases={
            Blame.QUOTA: ("Access denied, please make sure your account is in good standing*",)
        },
    ),
    ProviderCodes(
        name="OpenRouter",
        source="https://openrouter.ai/docs/api/reference/errors-and-debugging",
        codes={
            Blame.LIMIT: "in_flight_budget_exhausted",
            Blame.SERVICE: "provider_overloaded",
            Blame.REQUEST: "max_tokens_exceeded string_too_long image_too_large "
            "weight_exceeds_budget",
        },
        phrases={
            Blame.QUOTA: ("Insufficient credits*", "Key limit exceeded*"),
            Blame.MODEL: (
                "No endpoints found for *",
                "No allowed providers are available for the selected model*",
                "* is not a valid model ID",
            ),
        },
    ),
    ProviderCodes(
        name="Together",
        source="https://docs.together.ai/docs/error-codes",
        codes={
            Blame.QUOTA: "credit_limit credit_limit_exceeded",
            Blame.MODEL: "model_not_available",
            Blame.LIMIT: "model_rate_limit dynamic_request_limited dynamic_token_limited",
        },
    ),
    ProviderCodes(
        name="vLLM",
        source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server/",
        codes={Blame.KEY: "AuthenticationError"},
        phrases={Blame.MODEL: ("The model * does not exist*",)},
    ),
    ProviderCodes(
        name="Ollama",
        source="https://github.com/ollama/ollama/blob/main/middleware/openai.go",
        phrases={Blame.MODEL: ('model "*" not found*', "model '*' not found*")},
    ),
    ProviderCodes(
        name="LiteLLM's proxy",
        source="https://docs.litellm.ai/docs/proxy/error_reference",
        codes={
            Blame.KEY: "auth_error expired_key token_not_found_in_db",
            Blame.QUOTA: "budget_exceeded ExceededBudget",
            Blame.MODEL: "key_model_access_denied team_model_access_denied "
            "user_model_access_denied org_model_access_denied project_model_access_denied",
            Blame.LIMIT: "throttling_error RateLimitError",
            Blame.REQUEST: "ContentPolicyViolationError ContextWindowExceededError "
            "UnsupportedParamsError",
        },
    ),
    ProviderCodes(
        name="new-api and one-api",
        source="https://github.com/QuantumNous/new-api/blob/main/types/error.go and "
        "https://github.com/songquanpeng/one-api/blob/main/middleware/auth.go",
        codes={
            Blame.QUOTA: "insufficient_user_quota pre_consume_token_quota_failed "
            "quota_not_enough entitlement_required entitlement_inactive "
            "entitlement_total_limit_exceeded",
            Blame.LIMIT: "token_concurrency_limit_reached entitlement_daily_limit_exceeded",
            Blame.REQUEST: "sensitive_words_detected prompt_blocked",
        },
        phrases={
            Blame.KEY: ("无效的令牌*", "该令牌已过期*", "该令牌状态不可用*"),
            Blame.QUOTA: ("该令牌额度已用尽*", "用户额度不足*", "user quota is not enough*"),
            Blame.MODEL: ("该令牌无权访问模型*", "该令牌无权使用模型*"),
        },
    ),
    ProviderCodes(
        name="Anthropic (OpenAI's form)",
        source="https://platform.claude.com/docs/en/api/errors",
        codes={
            Blame.KEY: "authentication_error",
            Blame.QUOTA: "billing_error",
            Blame.SERVICE: "overloaded_error",
            Blame.REQUEST: "request_too_large",
            Blame.ACCESS: "permission_error",
        },
        phrases={
            Blame.QUOTA: ("Your credit balance is too low*",),
            Blame.MODEL: ("model: *",),
        },
    ),
    ProviderCodes(
        name="Volcengine Ark",
        source="https://www.volcengine.com/docs/82379/1299023",
        codes={
            Blame.QUOTA: "AccountOverdueError",
            Blame.MODEL: "InvalidEndpointOrModel.NotFound InvalidEndpoint.NotFound ModelNotOpen "
            "InvalidEndpoint.ClosedEndpoint",
            Blame.LIMIT: "SetLimitExceeded AccountRateLimitExceeded",
            Blame.SERVICE: "ServerOverloaded",
            Blame.REQUEST: "SensitiveContentDetected InputTextRiskDetection "
            "InputImageRiskDetection OutputTextRiskDetection",
        },
    ),
    ProviderCodes(
        name="MiniMax",
        source="https://platform.minimax.io/docs/api-reference/errorcode",
        codes={
            Blame.KEY: "status_code:1004 status_code:2049",
            Blame.QUOTA: "status_code:1008 insufficient_balance_error",
            Blame.LIMIT: "status_code:1002 status_code:1039 status_code:1041 status_code:2045",
            Blame.SERVICE: "status_code:1000 status_code:1001 status_code:1013 status_code:1024 "
            "status_code:1033",
            Blame.REQUEST: "status_code:1026 status_code:1027 status_code:1042 status_code:2013",
        },
    ),
    ProviderCodes(
        name="SiliconFlow",
        source="https://docs.siliconflow.cn/en/faqs/error-code",
        codes={Blame.QUOTA: "30001", Blame.MODEL: "20012 30003"},
    ),
    ProviderCodes(
        name="Fireworks",
        source="https://docs.fireworks.ai/troubleshooting/status_error_codes/inference_error_code",
        phrases={Blame.QUOTA: ("Account * is suspended*",)},
    ),
    ProviderCodes(
        name="frameworks that serve an API",
        source="https://fastapi.tiangolo.com/tutorial/handling-errors/, "
        "https://pkg.go.dev/net/http#NotFound and "
        "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server.cpp",
        phrases={
            Blame.ADDRESS: (
                "Not Found",
                "Method Not Allowed",
                "404 page not found",
                "File Not Found",
                "no Route matched with those values",
                "Cannot POST *",
            )
        },
    ),
    ProviderCodes(
        name="others",
        source="https://docs.zenmux.ai/guide/advanced/error-codes.html, "
        "https://docs.merge.dev/merge-gateway/errors and "
        "https://portkey.ai/docs/product/guardrails",
        codes={
            Blame.QUOTA: "insufficient_credit insufficient_credits insufficient_funds "
            "reject_no_credit quote_exceeded quota_exceeded project_budget_exceeded",
            Blame.MODEL: "model_not_supported model_access_denied",
            Blame.REQUEST: "safety_check_failed content_policy moderation_blocked "
            "blocked_by_policy hooks_failed",
            Blame.ACCESS: "forbidden request_forbidden",
        },
    ),
)

#: What a bad request is called where that says no more than its status does.
_GENERAL = (
    "invalid_request_error bad_request_error BadRequestError INVALID_ARGUMENT invalid_request"
)


#: How codes read that are in no table, without marks: the first that fits counts.
_ALIKE = {
    Blame.QUOTA: (
        r"(insufficient|notenough|lackof|outof|no|low|zero|negative)(account|user|team|api)?"
        r"(balance|credits?|funds)|(balance|credits?|funds)(is|are|too)?(insufficient|notenough|"
        r"exhausted|depleted|usedup|low|expired|empty)|overdue|arrear|unpaid"
    ),
    Blame.KEY: (
        r"(invalid|wrong|incorrect|bad|expired|missing|revoked|disabled|unknown|deleted|malformed)"
        r"(api|access|auth|secret|iam|bearer|session|security)(key|token)|expired(key|token)|"
        r"(api|access|auth|secret)(key|token)(is)?(invalid|wrong|incorrect|expired|missing|"
        r"revoked|disabled|unknown|deleted|not(found|valid))|(account|user|organi[sz]ation|org|team|"
        r"tenant|project|workspace)(is)?(suspended|deactivated|disabled|banned|blocked|frozen|"
        r"locked|terminated)|^auth(entication)?(fail|error)|failedto?auth|invalidcredential"
    ),
    Blame.MODEL: (
        r"(invalid|unknown|unsupported|nosuch|deprecated|retired)model(name|id)?$|"
        r"(model|endpoint|deployment)(name|id)?(is)?(not(found|available|open|supported|allowed|"
        r"exists?)|doesnotexist|disabled|deprecated|retired|decommissioned|shutdown|removed|offline|"
        r"closed|accessdenied|permissiondenied|forbidden)"
    ),
    Blame.LIMIT: (
        r"(rate|requests?|rpm|tpm|qps|concurrency)limit(ed|error|exceeded|reached)|"
        r"toomanyrequests|throttl"
    ),
    Blame.SERVICE: r"overload|(server|service|system|engine)(is)?(busy|unavailable)",
    Blame.REQUEST: (
        r"sensitive|moderation|inappropriate|harmful|unsafe|guardrail|riskdetect|"
        r"content(filter|policy|violation|blocked|prohibited)|(policy|safety|guidelines?)violat|"
        r"(prompt|input|context|message)s?(is)?(too(long|large|big)|lengthexceed|windowexceed)|"
        r"context(length|window)|maxcontext"
    ),
}
#: Nor is a message that tells something.
_LONGEST_PHRASE = 2_000
#: No code that is known is longer.
_LONGEST_CODE = 200


def plain(code: str) -> str:
    """Return a code without the marks in which spellings differ."""
    return "".join(sign for sign in code[:_LONGEST_CODE].lower() if sign.isalnum())


def fault_of(code: str, status: int | None = None) -> Blame | None:
    """Return what a code says; None: it is not known."""
    word = plain(code)
    known = _CODES.get((status, word)) or _CODES.get((None, word))
    if known is not None or word in _GENERAL_CODES:
        return known
    return next((fault for fault, alike in _KINDS if alike.search(word)), None)


def is_general(code: str) -> bool:
    """Return whether a code says no more than that the request is bad."""
    return plain(code) in _GENERAL_CODES


def fault_told(message: str) -> Blame | None:
    """Return what the fixed message of a provider without codes says; None: it is none."""
    words = message[:_LONGEST_PHRASE].strip().rstrip(".")
    return next((fault for phrase, fault in _PHRASES if phrase.fullmatch(words)), None)


def _all_codes() -> Iterator[tuple[tuple[int | None, str], Blame]]:
    for provider in PROVIDERS:
        for fault, codes in provider.codes.items():
            for code in codes.split():
                status, _, word = code.rpartition(":")
                if status.isdigit():
                    yield (int(status), plain(word)), fault
                else:
                    yield (None, plain(code)), fault


def _all_phrases() -> Iterator[tuple[re.Pattern[str], Blame]]:
    for provider in PROVIDERS:
        for fault, phrases in provider.phrases.items():
            for phrase in phrases:
                words = re.escape(phrase).replace(r"\*", ".*")
                yield re.compile(words, re.IGNORECASE | re.DOTALL), fault


_CODES = dict(_all_codes())
_PHRASES = tuple(_all_phrases())
_KINDS = tuple((fault, re.compile(alike)) for fault, alike in _ALIKE.items())
_GENERAL_CODES = frozenset(map(plain, _GENERAL.split()))
