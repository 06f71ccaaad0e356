"""Run folders of files through OpenAI-compatible models over many keys, and pay once."""
