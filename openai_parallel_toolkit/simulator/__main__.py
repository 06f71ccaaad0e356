"""`python -m openai_parallel_toolkit.simulator`."""

from .command import main

if __name__ == "__main__":
    main()
