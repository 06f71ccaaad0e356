"""Files and batches as OpenAI and Azure keep them, with time compressed and under control.

`batch_service` takes batches in, `lifecycle` leads each from validating to its end, `controls` say
how it goes, `lines` reads and writes the JSONL of it, `line_processor` answers and bills a line,
`file_store` keeps files.
"""
