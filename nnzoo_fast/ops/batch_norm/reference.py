"""What `batch_norm` means."""


def reference(input, weight, bias, running_mean, running_var, use_input_stats=True, eps=1e-5):
    """(input - mean) / sqrt(variance + eps) * weight + bias by channels, and the input's mean and sample variance.

    Mean and variance are those of the input or, unless `use_input_stats`, the running ones; then nothing else is
    returned but two empty tensors.
    """
    dims = (0, *range(2, input.dim()))
    shape = (1, -1, *(1 for _ in dims[1:]))
    if use_input_stats:
        count = input.numel() // max(input.shape[1], 1)
        mean = input.mean(dims)
        squares = ((input - mean.view(shape)) ** 2).sum(dims)
        variance, unbiased = squares / count, squares / (count - 1)
    else:
        mean, variance, unbiased = running_mean, running_var, None
    output = (input - mean.view(shape)) * (variance.view(shape) + eps).rsqrt()
    if weight is not None:
        output = output * weight.view(shape)
    if bias is not None:
        output = output + bias.view(shape)
    output = output.to(input.dtype)
    if unbiased is None:
        return output, *(statistics(input, input.new_empty(0)) for _ in range(2))
    return output, statistics(input, mean), statistics(input, unbiased)


def statistics(input, values):
    """In the dtype that sums have."""
    return values if values.element_size() > 2 else values.float()
