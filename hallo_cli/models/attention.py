"""Multi-head attention with its keys and values as values: who holds a projection decides how long it lives.

`Attention` attends to many tokens. `TokenAttention` attends to a handful (identity, audio), for which both
projections around the softmax are multiplied into the tokens beforehand: the same function, far fewer
products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Query, key and value are [rows, heads, tokens, width].
AttentionKernel = Callable[[Tensor, Tensor, Tensor], Tensor]

MAX_SCORES_IN_CACHE = 1 << 22


class KeyValue(NamedTuple):
    """Tokens as one attention layer sees them."""

    key: Tensor  # [rows, heads, tokens, head width]
    value: Tensor  # [rows, heads, tokens, head width]

    def rows(self, index: Tensor) -> KeyValue:
        """One row for each number of the index."""
        return KeyValue(self.key[index], self.value[index])

    def split(self, n_first: int) -> tuple[KeyValue, KeyValue]:
        """The first rows and the rest."""
        first = KeyValue(self.key[:n_first], self.value[:n_first])
        return first, KeyValue(self.key[n_first:], self.value[n_first:])

    def followed_by(self, other: KeyValue) -> KeyValue:
        """The tokens of both, row by row."""
        return KeyValue(torch.cat([self.key, other.key], 2), torch.cat([self.value, other.value], 2))


def fused_kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention by torch's fused kernels: best on GPUs and for many tokens."""
    return F.scaled_dot_product_attention(query, key, value)


def matmul_kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention by two matrix products: faster where small networks train on a CPU."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    return scores.softmax(-1) @ value


def adaptive_kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The matrix products in bfloat16 where all scores fit into a CPU's cache, else the fused kernels."""
    n_scores = query.shape[:-1].numel() * key.shape[2]
    is_short = query.dtype is torch.bfloat16 and n_scores <= MAX_SCORES_IN_CACHE
    return (matmul_kernel if is_short else fused_kernel)(query, key, value)


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(head width)) V with an output projection; Q, K and V have no bias."""

    def __init__(self, width: int, *, heads: int, token_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.kernel: AttentionKernel = fused_kernel
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(token_width or width, width, bias=False)
        self.to_v = nn.Linear(token_width or width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    @property
    def output(self) -> nn.Linear:
        """The output projection; the list around it is part of the official names."""
        return cast(nn.Linear, self.to_out[0])

    def project(self, tokens: Tensor) -> KeyValue:
        """Keys and values of [rows, tokens, token width]."""
        return KeyValue(self._split(self.to_k(tokens)), self._split(self.to_v(tokens)))

    def project_queries(self, x: Tensor) -> Tensor:
        """[rows, tokens, width] -> [rows, heads, tokens, head width]."""
        return self._split(self.to_q(x))

    def read(self, queries: Tensor, tokens: KeyValue) -> Tensor:
        """What the queries find in the tokens: [rows, query tokens, width], before the output projection."""
        return self.kernel(queries, tokens.key, tokens.value).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor, tokens: KeyValue) -> Tensor:
        """[rows, tokens, width] -> the same shape; no residual."""
        return self.output(self.read(self.project_queries(x), tokens))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def use_attention_kernel(network: nn.Module, kernel: AttentionKernel) -> None:
    """Make every attention layer of a network compute with `kernel`; the results agree up to rounding."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.kernel = kernel


class TokenAttention(NamedTuple):
    """Cross-attention to few tokens, its four projections multiplied into two matrices.

    With per-head matrices, softmax(x Wq K^T) V Wo = softmax(x (Wq K^T)) (V Wo). A row may stand for several
    consecutive rows of x (the frames of one sample), and several layers that read the same x may stand side
    by side as groups.
    """

    query: Tensor  # [rows, channels, groups * heads * tokens]
    value: Tensor  # [rows, outputs * heads * tokens, channels]
    n_tokens: int
    n_groups: int  # layers; several outputs of one layer share what its softmax found

    def rows(self, index: Tensor | slice) -> TokenAttention:
        """One row for each number of the index."""
        return self._replace(query=self.query[index], value=self.value[index])

    def read(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """[rows * k, positions, channels] -> the same shape; weights [1 or rows * k, positions, outputs]."""
        rows = self.query.shape[0]
        n_scores = x.shape[:2].numel() * self.query.shape[2]
        if x.device.type == "cpu" and rows > 1 and n_scores > MAX_SCORES_IN_CACHE:
            return self._read_row_by_row(x, weights)
        y = x.reshape(rows, -1, x.shape[-1])
        found = (y @ self.query).unflatten(-1, (-1, self.n_tokens)).softmax(-1)
        if weights is not None:
            grouped = found.reshape(*x.shape[:2], self.n_groups, -1)
            found = (grouped * weights.unsqueeze(-1)).reshape(*y.shape[:2], -1)
        return (found.reshape(*y.shape[:2], -1) @ self.value).reshape(x.shape)

    def _read_row_by_row(self, x: Tensor, weights: Tensor | None) -> Tensor:
        parts = x.chunk(self.query.shape[0])
        shares: Sequence[Tensor | None] = [weights] * len(parts)
        if weights is not None and len(weights) > 1:
            shares = weights.chunk(len(parts))
        return torch.cat(
            [self.rows(slice(i, i + 1)).read(*part) for i, part in enumerate(zip(parts, shares, strict=True))]
        )


class OutputMap(NamedTuple):
    """A linear map from an attention layer's heads to the channels: [channels, width] and [channels]."""

    weight: Tensor
    bias: Tensor


def fold_tokens(layers: Sequence[Attention], outputs: Sequence[OutputMap], tokens: Tensor) -> TokenAttention:
    """Multiply the projections of one layer, or of several side by side, into tokens [rows, tokens, width].

    A layer has one output, or a single one has them all. The biases fit into the values because each head's
    weights sum to one.
    """
    seen = [layer.project(tokens) for layer in layers]  # keys and values [rows, heads, tokens, head width]
    queries = [_queries(layer, key) for layer, (key, _) in zip(layers, seen, strict=True)]
    if len(layers) == 1:
        seen = seen * len(outputs)
    values = [_values(output, value) for output, (_, value) in zip(outputs, seen, strict=True)]
    return TokenAttention(torch.cat(queries, 2), torch.cat(values, 1), tokens.shape[1], len(layers))


def _queries(layer: Attention, key: Tensor) -> Tensor:
    width = key.shape[-1]
    into = layer.to_q.weight.unflatten(0, (layer.heads, width)) * width**-0.5  # [heads, head width, channels]
    return torch.einsum("rhtd,hdc->rcht", key, into).flatten(2)


def _values(output: OutputMap, value: Tensor) -> Tensor:
    heads, width = value.shape[1], value.shape[-1]
    out_of = output.weight.unflatten(1, (heads, width))  # [channels, heads, head width]
    return (torch.einsum("rhtd,chd->rhtc", value, out_of) + output.bias / heads).flatten(1, 2)
