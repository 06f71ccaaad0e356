"""What the simulator serves: a module for each endpoint."""

from ..completion import PaidEndpoint
from . import chat, embeddings, media, responses

#: What answers and is billed, by its path without "/v1".
PAID_ENDPOINTS = {
    "/chat/completions": PaidEndpoint(chat.complete, chat.render),
    "/embeddings": PaidEndpoint(embeddings.complete, embeddings.render),
    "/responses": PaidEndpoint(responses.complete, responses.render),
    **media.ENDPOINTS,
}
