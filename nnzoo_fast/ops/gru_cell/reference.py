"""What `gru_cell` means."""

from nnzoo_fast.ops.gru.reference import cell as reference

__all__ = ["reference"]
