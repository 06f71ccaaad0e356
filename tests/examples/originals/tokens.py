"""Counting tokens, and cutting a text at its sentences."""

from openai_parallel_toolkit import num_tokens_from_string, split_string_by_tokens

print(num_tokens_from_string("good morning"))
results = split_string_by_tokens(string="你好。再见。", thunk_len=4, split_signal="。")
print(results)
