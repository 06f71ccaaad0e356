"""What the simulator serves: a module for each endpoint."""

from ..completion import PaidEndpoint
from .chat import ChatCompletions
from .embeddings import Embeddings
from .responses import Responses

#: What answers and is billed, by its path without "/v1".
PAID_ENDPOINTS: dict[str, PaidEndpoint] = {
    "/chat/completions": ChatCompletions(),
    "/embeddings": Embeddings(),
    "/responses": Responses(),
}
