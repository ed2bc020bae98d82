"""The shapes that `nnzoo-fast tune` measures of every normalisation: a few thousand to a few million values."""

ROWS = [(16, 256), (64, 128), (32, 768), (128, 512), (512, 256), (256, 1024), (2048, 256), (1024, 1024), (4096, 768)]

IMAGES = [(2, 16, 14, 14), (2, 64, 28, 28), (8, 128, 14, 14), (8, 512, 14, 14), (8, 256, 32, 32), (32, 64, 56, 56)]
