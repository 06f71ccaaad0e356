"""Several keys, one of them for Azure: many_keys.json names them, the environment has their values.

Without a key: `openai-parallel-toolkit simulate --port 8123 --keys main,second:quota=none,azure`,
where the second has nothing left, and then, beside it

    export OPENAI_BASE_URL=http://127.0.0.1:8123/v1 AZURE_OPENAI_ENDPOINT=http://127.0.0.1:8123
    export OPENAI_API_KEY=sim-main SECOND_API_KEY=sim-second AZURE_OPENAI_API_KEY=sim-azure
    python many_keys.py
"""

from folder import Briefs

from openai_parallel_toolkit import APIKeyManager

if __name__ == "__main__":
    keys = APIKeyManager(config_path="many_keys.json")
    Briefs(None, "texts", "out/many_keys", key_manager=keys).run()
    for key in keys.status():
        print(f"{key.name}: {key.state}, {key.requests} requests, {key.tokens:,} tokens")
