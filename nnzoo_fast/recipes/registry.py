"""The recipes by family name."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from nnzoo_fast import data
from nnzoo_fast.recipes import graph, images, text
from nnzoo_fast.recipes.recipe import Recipe

FAMILIES = {
    "MLP": (data.images, images.mlp),
    "LeNet": (data.images, images.lenet),
    "ResNet": (data.images, images.resnet),
    "CharLSTM": (data.text, text.char_lstm),
    "GPT": (data.text, text.gpt),
    "GCN": (data.graph, graph.gcn),
}
"""For each family what loads its data and what makes its recipe of them."""


def all_recipes(
    directory: str | os.PathLike | None = None, families: Sequence[str] = tuple(FAMILIES)
) -> dict[str, Recipe]:
    """The recipes of `families` on the data in `directory` (see `nnzoo_fast.data`), which are loaded once each.

    Raises:
        FileNotFoundError, ValueError: as the loaders do.
    """
    load = functools.cache(lambda loader: loader(directory))
    return {name: make(load(loader)) for name, (loader, make) in FAMILIES.items() if name in families}
