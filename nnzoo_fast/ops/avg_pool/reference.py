"""What `avg_pool` means, without PyTorch's poolings."""

import torch

from nnzoo_fast.pooling.windows import pooled_size, unfolded


def reference(input, kernel, stride, padding, ceil_mode, count_include_pad, divisor):
    ones = [1] * len(kernel)
    count = pooled_size(input.shape[2:], kernel, stride, padding, ones, ceil_mode)
    sums = unfolded(input, kernel, stride, padding, ones, count, 0.0).sum(-1)
    if divisor:
        return sums / divisor
    for i, size in enumerate(input.shape[2:]):
        start = torch.arange(count[i], device=input.device) * stride[i] - padding[i]
        end = (start + kernel[i]).clamp(max=size + (padding[i] if count_include_pad else 0))
        elements = end - (start if count_include_pad else start.clamp(min=0))
        sums = sums / elements.to(input.dtype).reshape(-1, *[1] * (len(kernel) - 1 - i))
    return sums
