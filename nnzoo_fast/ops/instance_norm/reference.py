"""What `instance_norm` means."""

from nnzoo_fast.ops.group_norm.reference import reference as by_groups


def reference(input, weight=None, bias=None, eps=1e-5):
    """Each channel of each image is a group of its own."""
    return by_groups(input, input.shape[1], weight, bias, eps)
