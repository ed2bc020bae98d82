"""Noticing that a tensor was written to."""

import torch


def stamp(tensor: torch.Tensor | None) -> tuple[int, int] | None:
    """What changes with every write that torch counts, and whenever the tensor gets other memory.

    Torch doesn't count what fused optimizers, `.data`, numpy and other processes write into the same memory, nor any
    write to an inference tensor. 0.3 us.
    """
    if tensor is None:
        return None
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version
