"""The calls of `conv_lstm` that `nnzoo-fast tune` measures: small images to large ones, one dimension to three."""

from nnzoo_fast.ops.conv_lstm.cpu import kind_of
from nnzoo_fast.ops.conv_lstm.spec import made
from nnzoo_fast.spec import Sample

__all__ = ["SWEEP", "kind_of"]

LINES = [(4, 1, 8, 16, (32,)), (8, 2, 16, 32, (64,)), (8, 8, 32, 64, (128,))]
IMAGES = [(4, 1, 1, 8, (8, 8)), (4, 2, 8, 16, (16, 16)), (4, 4, 16, 32, (16, 16)), (4, 4, 32, 64, (24, 24))]
WIDE = [
    (4, 1, 16, 64, (32,)),
    (2, 1, 16, 64, (8, 8)),
    (3, 2, 64, 64, (12, 12)),
    (5, 4, 16, 64, (16, 16)),
    (4, 8, 64, 64, (16, 16)),
]
VOLUMES = [(2, 1, 2, 4, (4, 4, 4)), (2, 1, 4, 8, (8, 8, 8)), (2, 2, 8, 16, (12, 12, 12))]


def swept(steps, batch, in_channels, hidden, size):
    id = f"T{steps} B{batch} {in_channels}-{hidden} {'x'.join(map(str, size))}"
    return Sample(id, made(steps, batch, in_channels, hidden, size, (3,) * len(size)))


SWEEP = [swept(*sizes) for sizes in (*LINES, *IMAGES, *WIDE, *VOLUMES)]
