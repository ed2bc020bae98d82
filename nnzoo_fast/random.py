"""Counter-based random bits: Philox 2x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).

Word i of the stream of a seed is a pure function of (seed, i), so a dropout mask needs no storage: forward, backward,
every backend and every number of threads compute the same one. `csrc/common/random.h` is the same function in C++.
"""

import torch

_MULTIPLIER = 0xD256D193
_WEYL = 0x9E3779B9
_WORD = 0xFFFFFFFF
_ROUNDS = 10


def philox(seed: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Random 32-bit words, as int64 in [0, 2^32).

    Args:
        seed: int64 tensor of one element; its low 32 bits are the key.
        index: int64 [*], the 64-bit counters.
    """
    key = seed.reshape(()) & _WORD
    low, high = index & _WORD, (index >> 32) & _WORD
    for _ in range(_ROUNDS):
        product = low * _MULTIPLIER  # wraps modulo 2^64, which keeps all 64 bits of the product
        low, high = ((product >> 32) & _WORD) ^ key ^ high, product & _WORD
        key = (key + _WEYL) & _WORD
    return low


def new_seed(device: torch.device | None = None) -> torch.Tensor:
    """A seed from torch's default generator: int64 [1], so `torch.manual_seed` makes dropout repeatable."""
    return torch.randint(0, 2**31 - 1, (1,), dtype=torch.int64, device=device)


def keep_mask(seed: torch.Tensor, shape: torch.Size, probability: float) -> torch.Tensor:
    """The bool mask of the elements that dropout with this `probability` keeps, counters being row-major positions."""
    count = 1
    for size in shape:
        count *= size
    index = torch.arange(count, device=seed.device).view(shape)
    return philox(seed, index) >= int(probability * 2**32)
