"""Files and batches as OpenAI and Azure keep them, with time compressed and steerable.

`office` takes batches in, `life` leads each from validating to its end, `course` says how it goes,
`lines` reads and writes the JSONL of it, `clerk` answers and bills a line, `cabinet` keeps files.
"""
