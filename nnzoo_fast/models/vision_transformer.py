"""Vision transformer: an image is a sequence of patches."""

from __future__ import annotations

import functools
from collections import OrderedDict

import torch

from nnzoo_fast import nn

_norm = functools.partial(nn.LayerNorm, eps=1e-6)


class EncoderBlock(nn.Module):
    """x + attention(norm(x)), and the same with two linear layers in place of attention."""

    def __init__(self, heads: int, size: int, mlp_size: int, dropout: float, attention_dropout: float):
        super().__init__()
        self.ln_1 = _norm(size)
        self.self_attention = nn.MultiheadAttention(size, heads, dropout=attention_dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = _norm(size)
        self.mlp = nn.Sequential(
            nn.Linear(size, mlp_size), nn.GELU(), nn.Dropout(dropout), nn.Linear(mlp_size, size), nn.Dropout(dropout)
        )
        for layer in (self.mlp[0], self.mlp[3]):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.ln_1(x)
        h, _ = self.self_attention(h, h, h, need_weights=False)
        x = x + self.dropout(h)
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Blocks over a sequence whose places are told apart by a learnt vector each."""

    def __init__(self, length: int, layers: int, heads: int, size: int, mlp_size: int, *dropouts: float):
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.empty(1, length, size).normal_(std=0.02))
        self.dropout = nn.Dropout(dropouts[0])
        blocks = ((f"encoder_layer_{i}", EncoderBlock(heads, size, mlp_size, *dropouts)) for i in range(layers))
        self.layers = nn.Sequential(OrderedDict(blocks))
        self.ln = _norm(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.ln(self.layers(self.dropout(x + self.pos_embedding)))


class ViT(nn.Module):
    """Vision transformer, by default ViT-B/16: Dosovitskiy et al., "An image is worth 16x16 words" (2021).

    Parameters are named and, with the same seed, initialised as in torchvision's `vit_b_16` to `vit_l_32`.

    Args:
        num_classes: size of the output.
        in_channels: channels of the images.
        image_size: height and width of the images, a multiple of `patch_size`.
        patch_size: height and width of a patch.
        num_layers: number of blocks.
        num_heads: attention heads of a block.
        hidden_dim: size of a patch's vector.
        mlp_dim: size of the hidden layer in a block.
        dropout: probability of dropping a value of a block's results.
        attention_dropout: probability of dropping an attention weight.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
        patch_size: int = 16,
        num_layers: int = 12,
        num_heads: int = 12,
        hidden_dim: int = 768,
        mlp_dim: int = 3072,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ):
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"ViT: image_size {image_size} is no multiple of patch_size {patch_size}")
        self.image_size = image_size
        self.conv_proj = nn.Conv2d(in_channels, hidden_dim, patch_size, patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, hidden_dim))
        length = (image_size // patch_size) ** 2 + 1
        self.encoder = Encoder(length, num_layers, num_heads, hidden_dim, mlp_dim, dropout, attention_dropout)
        self.heads = nn.Sequential(OrderedDict(head=nn.Linear(hidden_dim, num_classes)))
        nn.init.trunc_normal_(self.conv_proj.weight, std=(in_channels * patch_size**2) ** -0.5)
        nn.init.zeros_(self.conv_proj.bias)
        nn.init.zeros_(self.heads.head.weight)
        nn.init.zeros_(self.heads.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, in_channels, image_size, image_size] -> logits [N, num_classes]."""
        if images.shape[-2:] != (self.image_size, self.image_size):
            height, width = images.shape[-2:]
            raise ValueError(f"ViT: images are {height}x{width}, expected {self.image_size}x{self.image_size}")
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1)
        return self.heads(self.encoder(x)[:, 0])


_base = functools.partial(ViT, num_layers=12, num_heads=12, hidden_dim=768, mlp_dim=3072)
_large = functools.partial(ViT, num_layers=24, num_heads=16, hidden_dim=1024, mlp_dim=4096)

VITS = {
    f"vit_{size}_{patch_size}": functools.partial(make, patch_size=patch_size)
    for size, make in (("b", _base), ("l", _large))
    for patch_size in (16, 32)
}
"""The published sizes, by torchvision's names."""
