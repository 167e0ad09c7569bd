"""llama.cpp's own server with a model of random weights, by the Python of .venv-peer. Needs no network.

    python llamacpp_server.py PORT KEY MODEL.gguf

The model has half a megabyte, a token for every byte, and a context of 256 tokens.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import xllamacpp
from gguf import GGUFWriter, TokenType

_SIZE, _INNER, _LAYERS, _HEADS, _CONTEXT = 64, 128, 2, 2, 256
_SPECIAL = ["<unk>", "<s>", "</s>"]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_LETTERS = ["\u2581", *map(chr, range(33, 127))]  # the first one stands for a blank
_TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "


def write_model(path: str) -> None:
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_SIZE)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_SIZE // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    _add_tokens(writer)
    for name, shape in _shapes():
        writer.add_tensor(name, _weights(*shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokens(writer: Any) -> None:
    tokens = [*_SPECIAL, *_BYTES, *_LETTERS]
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    kinds += [TokenType.BYTE] * len(_BYTES) + [TokenType.NORMAL] * len(_LETTERS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(_TEMPLATE)


def _shapes() -> list[tuple[str, tuple[int, ...]]]:
    tokens = len(_SPECIAL) + len(_BYTES) + len(_LETTERS)
    shapes: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (tokens, _SIZE)),
        ("output.weight", (tokens, _SIZE)),
        ("output_norm.weight", (_SIZE,)),
    ]
    for layer in range(_LAYERS):
        each = {
            **{f"attn_{kind}": (_SIZE, _SIZE) for kind in ("q", "k", "v", "output")},
            "attn_norm": (_SIZE,),
            "ffn_norm": (_SIZE,),
            "ffn_gate": (_INNER, _SIZE),
            "ffn_up": (_INNER, _SIZE),
            "ffn_down": (_SIZE, _INNER),
        }
        shapes += [(f"blk.{layer}.{name}.weight", shape) for name, shape in each.items()]
    return shapes


_random = np.random.default_rng(7)


def _weights(*shape: int) -> Any:
    """Random ones; those of a norm, the only ones of one dimension, are 1."""
    made = np.ones(shape) if len(shape) == 1 else _random.normal(0, 0.05, shape)
    return made.astype(np.float32)


def main() -> None:
    port, key, path = sys.argv[1:]
    write_model(path)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.model_alias = {"tiny"}
    parameters.port = int(port)
    parameters.api_keys = [key]
    parameters.n_ctx = 2 * _CONTEXT
    parameters.n_parallel = 2
    parameters.endpoint_metrics = True
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
