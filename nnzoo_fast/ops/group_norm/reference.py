"""What `group_norm` means."""


def reference(input, num_groups, weight=None, bias=None, eps=1e-5):
    """(input - mean) / sqrt(variance + eps) * weight + bias, mean and variance being those of a group of channels."""
    groups = input.unflatten(1, (num_groups, input.shape[1] // num_groups)).flatten(2)
    centered = groups - groups.mean(-1, keepdim=True)
    output = centered * ((centered * centered).mean(-1, keepdim=True) + eps).rsqrt()
    output = output.reshape(input.shape)
    shape = (1, -1, *(1 for _ in input.shape[2:]))
    if weight is not None:
        output = output * weight.view(shape)
    if bias is not None:
        output = output + bias.view(shape)
    return output.to(input.dtype)
