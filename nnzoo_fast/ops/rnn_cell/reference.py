"""What `rnn_cell` means."""

from nnzoo_fast.ops.rnn.reference import cell as reference

__all__ = ["reference"]
