"""Metadata of the distribution; tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

TEST = ["hypothesis", "pytest>=8", "pytest-randomly", "pytest-timeout", "pytest-xdist", "trustme"]

setup(
    name="openai-parallel-toolkit",
    version="0.1.0",
    description="Run folders of files through OpenAI-compatible models over many keys; pay once.",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["openai_parallel_toolkit", "openai_parallel_toolkit.*"]),
    package_data={"openai_parallel_toolkit": ["py.typed"]},
    install_requires=[
        "aiohttp>=3.10",
        "filelock>=3.12",
        "openai>=2",
        "python-dotenv>=1",
        "tiktoken>=0.7",
        "tqdm>=4.66",
        "truststore>=0.10",
        "uvloop>=0.20; sys_platform != 'win32'",
    ],
    extras_require={
        "test": TEST,
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
