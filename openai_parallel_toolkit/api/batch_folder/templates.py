"""Write templates of a BatchFolder's configuration: a file of ours, and the accelerator's three."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ...core.errors import ConfigError
from ...core.filesystem import storage_error

#: What to do where a file of a configuration is not there.
INIT = "mend the path, or write templates with `batch --init DIR` and fill them in"

_KEY = "<your key, or env:NAME of a variable that holds it>"
#: By file name. What stands in <...> has to be filled in.
TEMPLATES: Mapping[str, Mapping[str, Any]] = {
    "batch.json": {
        "config_path": "config.json",
        "input_path": "<folder or URL of the inputs>",
        "output_path": "<folder or URL for results>",
        "error_path": "<folder or URL for what failed>",
        "batch_size": 10,
        "continuous": False,
        "count_tokens": False,
        "completion_window": "24h",
        "max_attempts": 3,
    },
    "config.json": {"api_keys": [_KEY], "api_base": "https://api.openai.com/v1"},
    "azure/app_config.json": {
        "AOAI_config": "AOAI_config.json",
        "storage_config": "storage_config.json",
        "batch_size": 10,
        "download_to_local": False,
        "local_download_path": "<local folder for copies and state>",
        "pattern": "*.jsonl",
        "names": "own",
        "continuous_mode": False,
        "count_tokens": False,
    },
    "azure/AOAI_config.json": {
        "aoai_key": _KEY,
        "aoai_api_version": "2024-10-21",
        "aoai_endpoint": "<https://your-resource.openai.azure.com>",
        "aoai_deployment_name": "<your batch deployment>",
        "batch_job_endpoint": "/chat/completions",
        "completion_window": "24h",
    },
    "azure/storage_config.json": {
        "storage_account_name": "<your storage account>",
        "storage_account_key": "<its key, or env:NAME>",
        "input_filesystem_system_name": "<container of the inputs>",
        "processed_filesystem_system_name": "<container for results>",
        "error_filesystem_system_name": "<container for what failed>",
        "input_directory": "/",
        "output_directory": "/",
        "error_directory": "/",
    },
}


def write_templates(folder: str) -> list[str]:
    """Write the templates into a folder and return their paths.

    Raises:
        ConfigError: one of them is there already; none is written then.
        StorageError: the disk refused.
    """
    paths = {os.path.join(folder, *name.split("/")): text for name, text in TEMPLATES.items()}
    for path in paths:
        if os.path.lexists(path):
            raise ConfigError(f"{path!r} is there already; name another folder, or move it away")
    for path, content in paths.items():
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps(content, indent=4) + "\n")
        except OSError as exc:
            raise storage_error(exc, path) from exc
    return list(paths)
