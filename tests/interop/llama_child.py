"""Serve the tiny model until standard input ends; tells the address on the first line.

A process of its own: the server inside xllamacpp has no way to be stopped.
"""

import sys
from pathlib import Path

import xllamacpp
from tiny_model import write_tiny_model


def serve(folder, *api_keys):
    params = xllamacpp.CommonParams()
    params.model.path = str(write_tiny_model(Path(folder) / "tiny.gguf"))
    params.api_keys = list(api_keys)
    params.port = 0
    params.n_parallel = 4
    params.n_ctx = 4 * 1024
    # A kept connection occupies a thread for five seconds, and the tests do not want to wait.
    params.n_threads_http = 64
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.verbosity = 0
    params.endpoint_metrics = True
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve(*sys.argv[1:])
