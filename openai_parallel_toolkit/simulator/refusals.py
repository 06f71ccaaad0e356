"""Error replies, worded and coded as OpenAI and Azure do.

Source: https://platform.openai.com/docs/guides/error-codes and replies seen in the field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .http_messages import HttpReply, json_reply
from .limits import Shortage, duration

_Headers = tuple[tuple[str, str], ...]


class Refused(Exception):
    """Control flow: the request gets this reply instead of an answer."""

    def __init__(self, reply: HttpReply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """An error that can be played by its name. `{model}` and `{key}` in its message are filled."""

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    is_billed: bool = False
    #: Sent as a page of a gateway in front of the provider instead of JSON.
    is_page: bool = False


_NO_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more "
    "information on this error, read the docs: "
    "https://platform.openai.com/docs/guides/error-codes/api-errors."
)
_FILTERED = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management "
    "policy. Please modify your prompt and retry."
)

#: Errors by the name that a fault rule calls them.
ERRORS = {
    "400": ErrorForm(400, "Invalid value for 'temperature'.", code="invalid_value"),
    "401": ErrorForm(
        401,
        "Incorrect API key provided: {key}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    ),
    "402": ErrorForm(402, "Insufficient balance: add credits to go on.", "billing_error", "402"),
    "403": ErrorForm(
        403,
        "Country, region, or territory not supported",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    "403_model": ErrorForm(
        403, "Project does not have access to model `{model}`", code="model_not_found"
    ),
    "404_model": ErrorForm(
        404,
        "The model `{model}` does not exist or you do not have access to it.",
        code="model_not_found",
    ),
    "408": ErrorForm(408, "Request timed out.", "timeout"),
    "429": ErrorForm(
        429,
        "Rate limit reached for {model} on requests per min (RPM). Please try again later.",
        "requests",
        "rate_limit_exceeded",
    ),
    "500": ErrorForm(
        500,
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
    ),
    "502": ErrorForm(502, "Bad gateway", is_page=True),
    "503": ErrorForm(
        503, "The engine is currently overloaded, please try again later", "server_error"
    ),
    # A gateway gave up waiting, the model behind it did not: the answer is paid for.
    "504": ErrorForm(504, "Gateway time-out", is_billed=True, is_page=True),
    "524": ErrorForm(524, "A timeout occurred", is_billed=True, is_page=True),
    "529": ErrorForm(529, "Overloaded", "overloaded_error"),
    "insufficient_quota": ErrorForm(429, _NO_QUOTA, "insufficient_quota", "insufficient_quota"),
    "account_deactivated": ErrorForm(
        401,
        "The OpenAI account associated with this API key has been deactivated.",
        code="account_deactivated",
    ),
    "unsupported_temperature": ErrorForm(
        400,
        "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default "
        "(1) value is supported.",
        code="unsupported_value",
        param="temperature",
    ),
    "content_filter_400": ErrorForm(400, _FILTERED, code="content_filter", param="prompt"),
}


def error_reply(
    status: int,
    message: str,
    *,
    type: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
    headers: _Headers = (),
) -> HttpReply:
    """Return an error in OpenAI's form."""
    error = {"message": message, "type": type, "param": param, "code": code}
    return json_reply(status, {"error": error}, headers)


def named_error(
    name: str,
    *,
    model: str = "",
    key_value: str = "",
    status: int | None = None,
    message: str | None = None,
    headers: _Headers = (),
) -> HttpReply:
    """Return one of ERRORS; a `status` or `message` of None is the form's own."""
    form = ERRORS[name]
    status = form.status if status is None else status
    if message is None:
        message = form.message.format(model=model, key=masked(key_value))
    if form.is_page:
        return page_reply(status, message, headers)
    return error_reply(
        status, message, type=form.type, code=form.code, param=form.param, headers=headers
    )


def page_reply(status: int, title: str, headers: _Headers = ()) -> HttpReply:
    """Return the HTML page of a gateway."""
    page = (
        f"<html>\r\n<head><title>{status} {title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} {title}</h1></center>\r\n<hr><center>gateway</center>\r\n"
        "</body>\r\n</html>\r\n"
    ).encode("utf-8", "replace")
    return HttpReply(
        status=status, pieces=(page,), content_type="text/html; charset=utf-8", headers=headers
    )


def masked(key_value: str) -> str:
    """Return a key as OpenAI shows it in errors: its ends, when it is long, and stars."""
    if len(key_value) < 12:
        return "*" * len(key_value)
    return key_value[:3] + "*" * (len(key_value) - 7) + key_value[-4:]


def unknown_key(key_value: str, *, is_azure: bool) -> HttpReply:
    """Return the 401 for a key that does not exist, or for none at all."""
    if is_azure:
        return _azure(
            401,
            "401",
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
            "provide a valid key for an active subscription and use a correct regional API "
            "endpoint for your resource.",
        )
    if not key_value:
        return error_reply(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        )
    return named_error("401", key_value=key_value)


def unknown_url(method: str, path: str) -> HttpReply:
    """Return the 404 for a path that does not exist."""
    return error_reply(404, f"Invalid URL ({method} {path})")


def wrong_method(allowed: Sequence[str]) -> HttpReply:
    """Return the 405 for a path that exists under other methods."""
    return error_reply(
        405,
        f"Only {' or '.join(allowed)} requests are accepted for this endpoint.",
        code="method_not_supported",
    )


def no_deployment() -> HttpReply:
    """Return Azure's 404 for a deployment that does not exist."""
    return _azure(
        404,
        "DeploymentNotFound",
        "The API deployment for this resource does not exist. If you created the deployment "
        "within the last 5 minutes, please wait a moment and try again.",
    )


def no_api_version() -> HttpReply:
    """Return Azure's 404 for a request without api-version."""
    return _azure(404, "404", "Resource not found")


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> Refused:
    """Return the exception for a body that cannot be served."""
    return Refused(error_reply(400, message, param=param, code=code))


def missing(param: str) -> Refused:
    """Return the exception for a body that lacks `param`."""
    return invalid(
        f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


def too_long(context_tokens: int, asked_tokens: int, param: str) -> Refused:
    """Return the exception for a request that the model's context cannot hold."""
    return invalid(
        f"This model's maximum context length is {context_tokens} tokens. However, your "
        f"{param} resulted in {asked_tokens} tokens. Please reduce the length of the {param}.",
        param=param,
        code="context_length_exceeded",
    )


def limited(shortage: Shortage, model: str, group: str, *, is_azure: bool) -> HttpReply:
    """Return the 429 for a request that its limits do not bear now."""
    unit, short = shortage.unit, {"requests": "RPM", "tokens": "TPM"}[shortage.unit]
    place = f"{model} in organization {group} on {unit} per min ({short}): Limit {shortage.limit}"
    if math.isinf(shortage.wait_s):
        message = (
            f"Request too large for {place}, Requested {shortage.requested}. "
            "The input or output tokens must be reduced in order to run successfully."
        )
        return error_reply(429, message, type=unit, code="rate_limit_exceeded")
    seconds = str(max(1, math.ceil(shortage.wait_s)))
    headers = (
        ("retry-after", seconds),
        ("retry-after-ms", str(math.ceil(shortage.wait_s * 1000))),
    )
    if is_azure:
        message = (
            f"Requests to Azure OpenAI for {model} have exceeded the {unit} rate limit of your "
            f"current OpenAI S0 pricing tier. Please retry after {seconds} seconds."
        )
        return _azure(429, "429", message, headers)
    message = (
        f"Rate limit reached for {place}, Used {shortage.used}, Requested {shortage.requested}. "
        f"Please try again in {duration(shortage.wait_s)}. Visit "
        "https://platform.openai.com/account/rate-limits to learn more."
    )
    return error_reply(429, message, type=unit, code="rate_limit_exceeded", headers=headers)


def _azure(status: int, code: str, message: str, headers: _Headers = ()) -> HttpReply:
    return json_reply(status, {"error": {"code": code, "message": message}}, headers)
