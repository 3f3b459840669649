"""A decoder of the size of nanoGPT's character-level model, written against a module with PyTorch's API.

6 layers, 384 wide, 6 heads, 256 tokens, 65 characters; learnt positions, layer norms before attention and MLP, GELU,
output weights shared with the token embedding, AdamW with weight decay on matrices only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Size:
    """The sizes of a decoder."""

    layers: int = 6
    width: int = 384
    heads: int = 6
    tokens: int = 256
    vocabulary: int = 65
    dropout: float = 0.0
    bias: bool = True


def decoder(torch: Any, size: Size | None = None) -> Any:
    """The model: token numbers (B, T) to scores (B, T, vocabulary)."""
    s = size or Size()
    nn, F = torch.nn, torch.nn.functional

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.project = nn.Linear(s.width, 3 * s.width, bias=s.bias)
            self.join = nn.Linear(s.width, s.width, bias=s.bias)
            self.drop = nn.Dropout(s.dropout)

        def forward(self, x):  # (B, T, C)
            b, t, c = x.shape
            q, k, v = (p.view(b, t, s.heads, c // s.heads).transpose(1, 2) for p in self.project(x).split(c, dim=2))
            dropout = s.dropout if self.training else 0.0
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)  # (B, heads, T, C / heads)
            return self.drop(self.join(y.transpose(1, 2).reshape(b, t, c)))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1 = nn.LayerNorm(s.width)
            self.attention = Attention()
            self.norm2 = nn.LayerNorm(s.width)
            self.wide = nn.Linear(s.width, 4 * s.width, bias=s.bias)
            self.narrow = nn.Linear(4 * s.width, s.width, bias=s.bias)
            self.drop = nn.Dropout(s.dropout)

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.drop(self.narrow(F.gelu(self.wide(self.norm2(x)))))

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Embedding(s.vocabulary, s.width)
            self.place = nn.Embedding(s.tokens, s.width)
            self.drop = nn.Dropout(s.dropout)
            self.blocks = nn.ModuleList([Block() for _ in range(s.layers)])
            self.norm = nn.LayerNorm(s.width)
            self.head = nn.Linear(s.width, s.vocabulary, bias=False)
            self.token.weight = self.head.weight

        def forward(self, numbers):  # (B, T)
            places = torch.arange(numbers.shape[1])
            x = self.drop(self.token(numbers) + self.place(places))
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    model = Decoder()
    random = np.random.default_rng(0)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if p.dim() > 1:
                std = 0.02 / (2 * s.layers) ** 0.5 if name.endswith(("join.weight", "narrow.weight")) else 0.02
                p.copy_(torch.tensor((std * random.standard_normal(tuple(p.shape))).astype(np.float32)))
            elif name.endswith("bias"):
                p.zero_()
    return model


def training_step(torch: Any, batch: int = 4, size: Size | None = None) -> Any:
    """A function that runs one step (forward, cross-entropy, backward, AdamW, `loss.item()`) on fixed data and returns
    the loss.
    """
    s = size or Size()
    model = decoder(torch, s)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    data = np.random.default_rng(1).integers(0, s.vocabulary, (batch, s.tokens + 1))
    numbers, targets = torch.tensor(data[:, :-1].copy()), torch.tensor(data[:, 1:].copy())

    def step() -> float:
        scores = model(numbers)
        loss = torch.nn.functional.cross_entropy(scores.view(-1, s.vocabulary), targets.view(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def inference(torch: Any, batch: int = 1, size: Size | None = None) -> Any:
    """A function that computes the scores of fixed token numbers, and waits for them."""
    s = size or Size()
    model = decoder(torch, s).eval()
    numbers = torch.tensor(np.random.default_rng(1).integers(0, s.vocabulary, (batch, s.tokens)))

    def run() -> float:
        with torch.no_grad():
            return model(numbers)[0, 0, 0].item()

    return run
