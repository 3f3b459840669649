"""Transformers: encoder, decoder and their layers.

Floor 7. Attention is that of MultiheadAttention without weights, which runs in one kernel each way.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from ...dtypes import bool_
from ...functions import creation
from ...tensor import Tensor
from .. import functional as F
from .. import init
from .attention import MultiheadAttention
from .container import ModuleList
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm


def _activation(given: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if not isinstance(given, str):
        return given
    if given not in ("relu", "gelu"):
        raise RuntimeError(f"activation should be relu/gelu, not {given}")
    return F.relu if given == "relu" else F.gelu


def _copies(module: Module, n: int) -> ModuleList:
    return ModuleList([copy.deepcopy(module) for _ in range(n)])


def _is_causal(mask: Tensor | None, hint: bool | None, length: int) -> bool:
    """Whether `mask` is the causal one: as the hint says, else by comparing."""
    if hint is not None:
        return hint
    if mask is None or mask.shape != (length, length):
        return False
    unseen = mask if mask.dtype is bool_ else mask == -math.inf
    causal = creation.ones((length, length), dtype=bool_, device=mask.device).triu(1)
    same = (unseen == causal).all()
    if mask.dtype is not bool_:
        same = same & ((mask == 0) | unseen).all()
    return bool(same.item())


class TransformerEncoderLayer(Module):
    """Attention of a sequence to itself, then an MLP; each with dropout, added to its input and normalised.

    Args:
        d_model: features per position. nhead: heads, which divide it.
        dim_feedforward: width of the MLP.
        activation: 'relu', 'gelu' or a function.
        batch_first: input (N, S, E), not (S, N, E).
        norm_first: normalise before attention and MLP, not after.
        bias: whether projections and norms have biases.

    Shape: src (S, N, E), (N, S, E) with `batch_first`, or (S, E); result likewise.

    Source: Vaswani et al., Attention Is All You Need, 2017.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias=bias, batch_first=batch_first, **made)
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **made)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = _activation(activation)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """
        Args:
            src_mask, src_key_padding_mask: as `attn_mask` and `key_padding_mask` of MultiheadAttention.
            is_causal: a hint that `src_mask` is causal.
        """

        def attend(x: Tensor) -> Tensor:
            found, _ = self.self_attn(
                x, x, x, attn_mask=src_mask, key_padding_mask=src_key_padding_mask, need_weights=False,
                is_causal=is_causal,
            )  # fmt: skip
            return self.dropout1(found)

        def transform(x: Tensor) -> Tensor:
            return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))

        if self.norm_first:
            x = src + attend(self.norm1(src))
            return x + transform(self.norm2(x))
        x = self.norm1(src + attend(src))
        return self.norm2(x + transform(x))


class TransformerDecoderLayer(Module):
    """Attention of a sequence to itself, then to an encoder's result, then an MLP; arguments as the encoder layer's.

    Shape: tgt (T, N, E), memory (S, N, E), with `batch_first` (N, T, E) and (N, S, E), or without N; result like tgt.

    Source: Vaswani et al., Attention Is All You Need, 2017.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias=bias, batch_first=batch_first, **made)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias=bias, batch_first=batch_first, **made)
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **made)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = _activation(activation)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """
        Args:
            tgt_mask, tgt_key_padding_mask: of the attention to `tgt`; memory_mask, memory_key_padding_mask: to
                `memory`.
            tgt_is_causal, memory_is_causal: hints that `tgt_mask`, `memory_mask` are causal.
        """

        def attend(x: Tensor) -> Tensor:
            found, _ = self.self_attn(
                x, x, x, attn_mask=tgt_mask, key_padding_mask=tgt_key_padding_mask, need_weights=False,
                is_causal=tgt_is_causal,
            )  # fmt: skip
            return self.dropout1(found)

        def recall(x: Tensor) -> Tensor:
            found, _ = self.multihead_attn(
                x, memory, memory, attn_mask=memory_mask, key_padding_mask=memory_key_padding_mask,
                need_weights=False, is_causal=memory_is_causal,
            )  # fmt: skip
            return self.dropout2(found)

        def transform(x: Tensor) -> Tensor:
            return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))

        if self.norm_first:
            x = tgt + attend(self.norm1(tgt))
            x = x + recall(self.norm2(x))
            return x + transform(self.norm3(x))
        x = self.norm1(tgt + attend(tgt))
        x = self.norm2(x + recall(x))
        return self.norm3(x + transform(x))


class TransformerEncoder(Module):
    """`num_layers` copies of an encoder layer, one after the other.

    Args:
        norm: a module applied to the result, or None.
        enable_nested_tensor, mask_check: accepted; padding is always masked, never cut out.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm
        self.enable_nested_tensor, self.mask_check = enable_nested_tensor, mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """
        Args:
            is_causal: whether `mask` is causal; None looks at it.
        """
        causal = _is_causal(mask, is_causal, _length(self, src))
        x = src
        for layer in self.layers:
            x = layer(x, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=causal)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """`num_layers` copies of a decoder layer, one after the other.

    Args:
        norm: a module applied to the result, or None.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """
        Args:
            tgt_is_causal: whether `tgt_mask` is causal; None looks at it.
        """
        causal = _is_causal(tgt_mask, tgt_is_causal, _length(self, tgt))
        x = tgt
        for layer in self.layers:
            x = layer(
                x, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
            )  # fmt: skip
        return x if self.norm is None else self.norm(x)


def _length(stack: Module, x: Tensor) -> int:
    """Positions of a sequence."""
    first = stack.layers[0] if len(stack.layers) else None
    batch_first = x.dim() == 3 and first is not None and getattr(first.self_attn, "batch_first", False)
    return x.shape[1] if batch_first else x.shape[0]


class Transformer(Module):
    """Encoder and decoder.

    Args:
        custom_encoder, custom_decoder: modules in place of those made here.
        The others: as TransformerEncoderLayer's.

    Shape: src (S, N, E), tgt (T, N, E), with `batch_first` (N, S, E) and (N, T, E), or without N; result like tgt.

    Source: Vaswani et al., Attention Is All You Need, 2017.

    Raises:
        RuntimeError: batch or feature sizes of src and tgt differ from each other or from d_model.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        layer: dict[str, Any] = {
            "d_model": d_model, "nhead": nhead, "dim_feedforward": dim_feedforward, "dropout": dropout,
            "activation": activation, "layer_norm_eps": layer_norm_eps, "batch_first": batch_first,
            "norm_first": norm_first, "bias": bias, **made,
        }  # fmt: skip
        if custom_encoder is None:
            self.encoder: Module = TransformerEncoder(
                TransformerEncoderLayer(**layer),
                num_encoder_layers,
                LayerNorm(d_model, layer_norm_eps, bias=bias, **made),
            )
        else:
            self.encoder = custom_encoder
        if custom_decoder is None:
            self.decoder: Module = TransformerDecoder(
                TransformerDecoderLayer(**layer),
                num_decoder_layers,
                LayerNorm(d_model, layer_norm_eps, bias=bias, **made),
            )
        else:
            self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """
        Args:
            src_mask, tgt_mask, memory_mask: of encoder, decoder, and decoder to encoder, (S, S), (T, T), (T, S) or one
                per head.
            src_key_padding_mask, tgt_key_padding_mask, memory_key_padding_mask: (N, S), (N, T), (N, S).
            src_is_causal, tgt_is_causal, memory_is_causal: hints about the masks.
        """
        batch = 0 if self.batch_first else 1
        if src.dim() == 3 and src.shape[batch] != tgt.shape[batch]:
            raise RuntimeError(
                f"the batch number of src and tgt must be equal, got {src.shape[batch]} and {tgt.shape[batch]}"
            )
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError(
                f"the feature number of src and tgt must be equal to d_model, got {src.shape[-1]}, {tgt.shape[-1]} and "
                f"{self.d_model}"
            )
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask (sz, sz) to be added: -inf above the diagonal, 0 elsewhere."""
        return creation.full((sz, sz), -math.inf, dtype=dtype, device=device).triu(1)  # type: ignore[attr-defined]

    def _reset_parameters(self) -> None:
        for p in self.parameters():
            if p.dim() > 1:
                init.xavier_uniform_(p)
