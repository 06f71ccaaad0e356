"""Threads that wait for answers all hear of it when their key manager is closed."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from openai_parallel_toolkit import APIKeyManager, Gpt35Turbo, UsageError, request_openai_api
from openai_parallel_toolkit.simulator import Simulator

THREADS = 20


def test_each_of_many_threads_of_ones_own_is_told():
    with Simulator(latency=30) as sim, ThreadPoolExecutor(THREADS) as pool:
        keys = APIKeyManager([{"key": "sim-test", "api_base": sim.url}])
        asked = [
            pool.submit(request_openai_api, Gpt35Turbo(content=str(n)), keys)
            for n in range(THREADS)
        ]
        while keys.counts().in_flight < THREADS:
            time.sleep(0.01)
        keys.close()
        for answer in asked:
            with pytest.raises(UsageError, match="was closed"):
                answer.result(20)
