"""What `lstm`, `gru` and `rnn` share: `Family` says how they differ, the rest is written once for all of them."""

from nnzoo_fast.recurrent.family import Family

__all__ = ["Family"]
