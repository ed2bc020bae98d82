"""The calls of `conv_transpose` that `nnzoo-fast tune` measures: each kind of kernel, small images to large batches."""

from nnzoo_fast.ops.conv_transpose.cpu import kind_of
from nnzoo_fast.ops.conv_transpose.spec import sample

__all__ = ["SWEEP", "kind_of"]


def swept(name, batch, in_channels, size, out_channels, kernel, stride, groups=1, channels_last=False):
    shapes = (batch, in_channels, *size), (in_channels, out_channels // groups, *kernel)
    id = f"{name} B{batch} {'x'.join(map(str, size))}{' channels-last' if channels_last else ''}"
    padding = [(k - s) // 2 for k, s in zip(kernel, stride, strict=True)]
    return sample(id, *shapes, stride=stride, padding=padding, groups=groups, channels_last=channels_last)


IMAGES = [(1, (7, 7)), (4, (16, 16)), (16, (32, 32))]
TWO = [
    ("4x4 stride 2 128-64", 128, 64, (4, 4), (2, 2), 1),
    ("2x2 stride 2 128-64", 128, 64, (2, 2), (2, 2), 1),
    ("2x2 stride 2 64-32", 64, 32, (2, 2), (2, 2), 1),
    ("4x4 stride 2 64-32", 64, 32, (4, 4), (2, 2), 1),
    ("4x4 stride 2 64-3", 64, 3, (4, 4), (2, 2), 1),
    ("4x4 stride 2 depthwise 64", 64, 64, (4, 4), (2, 2), 64),
]
ONE = [
    ("k16 stride 8 64-32", 64, 32, (16,), (8,), 1),
    ("k4 stride 2 64-3", 64, 3, (4,), (2,), 1),
    ("k4 stride 2 depthwise 64", 64, 64, (4,), (2,), 64),
]
THREE = [
    ("2x2x2 stride 2 32-16", 32, 16, (2, 2, 2), (2, 2, 2), 1),
    ("4x4x4 stride 2 32-1", 32, 1, (4, 4, 4), (2, 2, 2), 1),
    ("4x4x4 stride 2 depthwise 32", 32, 32, (4, 4, 4), (2, 2, 2), 32),
]
LENGTHS = [(1, (64,)), (4, (256,)), (8, (1024,))]
VOLUMES = [(1, (4, 4, 4)), (1, (8, 8, 8)), (2, (16, 16, 16))]

SWEEP = [
    *(
        swept(name, batch, in_channels, size, out_channels, kernel, stride, groups, channels_last)
        for channels_last in (False, True)
        for name, in_channels, out_channels, kernel, stride, groups in TWO
        for batch, size in IMAGES
    ),
    *(
        swept(name, batch, in_channels, size, out_channels, kernel, stride, groups)
        for names, sizes in ((ONE, LENGTHS), (THREE, VOLUMES))
        for name, in_channels, out_channels, kernel, stride, groups in names
        for batch, size in sizes
    ),
]
