"""The calls of `conv` that `nnzoo-fast tune` measures: each kind of kernel, small images to large batches."""

from nnzoo_fast.ops.conv.cpu import kind_of
from nnzoo_fast.ops.conv.spec import sample

__all__ = ["SWEEP", "kind_of"]


def swept(name, batch, in_channels, size, out_channels, kernel, groups=1, stride=1, channels_last=False):
    pad = [k // 2 for k in kernel]
    shapes = (batch, in_channels, *size), (out_channels, in_channels // groups, *kernel)
    id = f"{name} B{batch} {'x'.join(map(str, size))}{' channels-last' if channels_last else ''}"
    options = {"stride": stride, "padding": pad, "groups": groups, "channels_last": channels_last}
    return sample(id, *shapes, **options)


IMAGES = [(1, (14, 14)), (2, (28, 28)), (8, (56, 56))]
PIXELS = [(1, (1, 1)), (2, (1, 1)), (8, (1, 1)), (64, (1, 1))]
SQUEEZES = [("1x1 144-6", 144, 6), ("1x1 20-480", 20, 480), ("1x1 1152-48", 1152, 48), ("1x1 64-1024", 64, 1024)]
NARROWING = [("1x1 144-24", 144, 24), ("1x1 32-16", 32, 16), ("1x1 480-80", 480, 80)]
LATE = [("1x1 1152-192", 1152, 192), ("1x1 192-1152", 192, 1152), ("1x1 512-2048", 512, 2048)]
SMALL_DEPTHWISE = [("5x5 depthwise 1152", 1152, (5, 5)), ("3x3 depthwise 384", 384, (3, 3))]
SMALL = [(1, (7, 7)), (2, (7, 7)), (8, (7, 7)), (32, (7, 7))]
NARROWED = [(1, (28, 28)), (2, (28, 28)), (2, (56, 56)), (2, (112, 112))]
TWO = [
    ("1x1 64-256", 64, 256, (1, 1), 1, 1),
    ("1x1 256-64", 256, 64, (1, 1), 1, 1),
    ("1x1 256-512 stride 2", 256, 512, (1, 1), 1, 2),
    ("3x3 64-64", 64, 64, (3, 3), 1, 1),
    ("3x3 128-128 stride 2", 128, 128, (3, 3), 1, 2),
    ("3x3 16-32", 16, 32, (3, 3), 1, 1),
    ("7x7 3-64 stride 2", 3, 64, (7, 7), 1, 2),
    ("5x5 1-6", 1, 6, (5, 5), 1, 1),
    ("3x3 depthwise 192", 192, 192, (3, 3), 192, 1),
    ("5x5 depthwise 96 stride 2", 96, 96, (5, 5), 96, 2),
    ("3x3 32 groups of 4", 128, 128, (3, 3), 32, 1),
    ("3x3 4 groups of 32", 128, 128, (3, 3), 4, 1),
]
ONE = [
    ("k9 64-64", 64, 64, (9,), 1),
    ("k1 64-256", 64, 256, (1,), 1),
    ("k1 256-64", 256, 64, (1,), 1),
    ("k9 1-64", 1, 64, (9,), 1),
    ("k5 1-6", 1, 6, (5,), 1),
    ("k3 depthwise 256", 256, 256, (3,), 256),
    ("k3 32 groups of 4", 128, 128, (3,), 32),
    ("k3 4 groups of 32", 128, 128, (3,), 4),
]
THREE = [
    ("3x3x3 16-32", 16, 32, (3, 3, 3), 1),
    ("3x3x3 64-64", 64, 64, (3, 3, 3), 1),
    ("1x1x1 64-128", 64, 128, (1, 1, 1), 1),
    ("1x1x1 128-64", 128, 64, (1, 1, 1), 1),
    ("3x3x3 1-16", 1, 16, (3, 3, 3), 1),
    ("3x3x3 depthwise 32", 32, 32, (3, 3, 3), 32),
    ("3x3x3 8 groups of 4", 32, 32, (3, 3, 3), 8),
]
LENGTHS = [(1, (256,)), (4, (1024,)), (16, (4096,))]
VOLUMES = [(1, (8, 8, 8)), (2, (8, 8, 8)), (1, (16, 16, 16)), (2, (24, 24, 24))]

SWEEP = [
    *(
        swept(name, batch, in_channels, size, out_channels, kernel, groups, stride, channels_last)
        for channels_last in (False, True)
        for name, in_channels, out_channels, kernel, groups, stride in TWO
        for batch, size in IMAGES
    ),
    *(
        swept(name, batch, in_channels, size, out_channels, (1, 1))
        for names, sizes in ((SQUEEZES, PIXELS), (NARROWING, NARROWED), (LATE, SMALL))
        for name, in_channels, out_channels in names
        for batch, size in sizes
    ),
    *(
        swept(name, batch, channels, size, channels, kernel, channels, 1, channels_last)
        for channels_last in (False, True)
        for name, channels, kernel in SMALL_DEPTHWISE
        for batch, size in SMALL
    ),
    *(
        swept(name, batch, in_channels, size, out_channels, kernel, groups, 1, channels_last)
        for channels_last in (False, True)
        for names, sizes in ((ONE, LENGTHS), (THREE, VOLUMES))
        for name, in_channels, out_channels, kernel, groups in names
        for batch, size in sizes
    ),
]
