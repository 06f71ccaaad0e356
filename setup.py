"""Metadata of the distribution; tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

#: Packages that carry tiktoken's vocabularies; rs-bpe has no wheels for Python 3.14.
OFFLINE = [
    "llama-index-core>=0.14; python_version >= '3.14'",
    "rs-bpe>=0.1; python_version < '3.14'",
]
S3 = ["s3fs>=2025.2"]
AZURE = ["adlfs>=2025.8"]
GCS = ["gcsfs>=2025.2"]
#: Tables: Parquet, and exports for pandas.
DATA = ["pandas>=2", "pyarrow>=16"]
#: A server that others wrote, and what makes a model for it; other machines have no wheels.
INTEROP = [
    "gguf>=0.19",
    "xllamacpp==2026.10.*; platform_machine in 'x86_64 AMD64 aarch64 arm64'",
]
#: What the tests need that start no server of others.
TEST_WIRE = [
    "hypothesis",
    "pytest-randomly",
    "pytest-timeout",
    "pytest-xdist",
    "pytest>=8",
    "trustme",
]
#: Libraries on the openai package that docs/how-to/clients.md shows; tests skip absent ones.
TEST_CLIENTS = [
    "instructor",
    "langchain-openai",
    "litellm",
    "openai-agents",
    "pydantic-ai-slim[openai]",
]
#: 19 seconds of a processor to install, for one test.
TEST_NOTEBOOKS = ["ipykernel", "nbclient"]
TEST = [
    *TEST_WIRE,
    *OFFLINE,
    *DATA,
    *INTEROP,
    *S3,
    *AZURE,
    *GCS,
    "boto3<=1.43.117",  # of moto, as s3fs's botocore has it; else pip tries thirty newer ones
    "gcp-storage-emulator",
    "jsonschema",
    "moto[server]>=5",
    "playwright>=1.50",  # drives a chromium that is there already
    "pyte",
]

setup(
    name="openai-parallel-toolkit",
    version="2.0.0",
    description="Run folders of files through OpenAI-compatible models over many keys; pay once.",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["openai_parallel_toolkit", "openai_parallel_toolkit.*"]),
    package_data={
        "openai_parallel_toolkit": ["py.typed"],
        "openai_parallel_toolkit.view": ["assets/*"],
    },
    install_requires=[
        "aiohappyeyeballs>=2.5",  # aiohttp brings it
        "aiohttp>=3.14.5",  # earlier ones misjudge a refusing proxy, 3.14.0 broke bodies
        "cloudpickle>=3",
        "filelock>=3.12",
        "genai-prices>=0.2; python_version >= '3.11'",
        "httptools>=0.7.1",
        "multidict>=6.1",
        "openai>=2",  # brings httpx2, or httpx before version 3
        "pydantic>=2.10",
        "python-dotenv>=1",
        "regex",  # tiktoken brings it as well
        "tiktoken>=0.13",  # the first that counts a megabyte of one letter in linear time
        "tqdm>=4.66",
        "truststore>=0.10",
        "uvloop>=0.20; sys_platform != 'win32'",
        "yarl>=1.25.1",  # aiohttp brings it
    ],
    extras_require={
        "data": DATA,
        "offline": OFFLINE,
        "s3": S3,
        "azure": AZURE,
        "gcs": GCS,
        "remote": [*S3, *AZURE, *GCS],
        "test": TEST,
        "test-wire": TEST_WIRE,
        "test-clients": TEST_CLIENTS,
        "docs": ["furo", "myst-parser", "sphinx>=8.1", "sphinx-copybutton", "sphinx-llm>=1"],
        "test-notebooks": TEST_NOTEBOOKS,
        "dev": [*TEST, "mypy", "pytest-cov", "ruff", "types-tqdm"],
    },
    entry_points={
        "console_scripts": ["openai-parallel-toolkit = openai_parallel_toolkit.__main__:main"]
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Typing :: Typed",
    ],
)
