"""Files and batches as OpenAI and Azure keep them, with time compressed and steerable.

`office` leads each batch through its life, `course` says how it goes, `lines` reads and writes the
JSONL of it, `clerk` answers a line and bills it, `cabinet` keeps the files.
"""
