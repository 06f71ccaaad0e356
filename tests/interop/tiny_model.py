"""A llama of a few hundred kilobytes: the real format and architecture, weights by chance.

Its vocabulary is the printable ASCII signs and the 256 bytes, so a prompt has about as many tokens
as signs. What it writes makes no sense, and is always the same for the same seed.
"""

from pathlib import Path

import gguf
import numpy as np

_CONTEXT_TOKENS = 1024
_WIDTH, _HEADS, _LAYERS, _INNER = 64, 4, 2, 128
_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
)


def write_tiny_model(path: Path, seed: int = 7) -> Path:
    """Write the model as a GGUF file."""
    writer = gguf.GGUFWriter(path, "llama")
    words = _add_vocabulary(writer)
    _add_shape(writer, words)
    for name, tensor in _weights(words, np.random.default_rng(seed)).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: gguf.GGUFWriter) -> int:
    """Add a sentencepiece vocabulary of signs and bytes; returns how many tokens it has."""
    kinds = gguf.TokenType
    tokens = [("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)]
    tokens += [(f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)]
    tokens += [("\u2581", kinds.NORMAL)]  # a space
    tokens += [(chr(code), kinds.NORMAL) for code in range(ord("!"), ord("~") + 1)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([word for word, _ in tokens])
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(_TEMPLATE)
    return len(tokens)


def _add_shape(writer: gguf.GGUFWriter, words: int) -> None:
    writer.add_context_length(_CONTEXT_TOKENS)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_vocab_size(words)


def _weights(words: int, chance: np.random.Generator) -> dict[str, np.ndarray]:
    def some(*shape: int) -> np.ndarray:
        return chance.normal(0, 0.2, shape).astype(np.float32)

    ones = np.ones(_WIDTH, dtype=np.float32)
    weights = {"token_embd.weight": some(words, _WIDTH), "output.weight": some(words, _WIDTH)}
    weights["output_norm.weight"] = ones
    for n in range(_LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights[f"blk.{n}.{name}.weight"] = some(_WIDTH, _WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            weights[f"blk.{n}.{name}.weight"] = some(_INNER, _WIDTH)
        weights[f"blk.{n}.ffn_down.weight"] = some(_WIDTH, _INNER)
        weights[f"blk.{n}.attn_norm.weight"] = ones
        weights[f"blk.{n}.ffn_norm.weight"] = ones
    return weights
