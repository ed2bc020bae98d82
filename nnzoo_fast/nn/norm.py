"""The normalisation layers, on the operations of the same names."""

import torch
from torch import Tensor
from torch.fx import Proxy

from nnzoo_fast import ops
from nnzoo_fast.nn import dimensions
from nnzoo_fast.nn.drop_in import drop_in


@drop_in(torch.nn.LayerNorm)
class LayerNorm(torch.nn.LayerNorm):
    """`torch.nn.LayerNorm`: [*, *normalized_shape] -> the same."""

    def forward(self, input: Tensor) -> Tensor:
        return ops.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


@drop_in(torch.nn.RMSNorm)
class RMSNorm(torch.nn.RMSNorm):
    """`torch.nn.RMSNorm`: [*, *normalized_shape] -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)


@drop_in(torch.nn.GroupNorm)
class GroupNorm(torch.nn.GroupNorm):
    """`torch.nn.GroupNorm`: [N, C, *] -> the same."""

    def forward(self, input: Tensor) -> Tensor:
        return ops.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def recorded(layer: torch.nn.Module, input: Proxy) -> Proxy:
    """The call as one node of torch.fx, as torch's own layers are: a proxy has no dimensions to check, and what such a
    layer does to its buffers would be done once, while the program is traced."""
    tracer = input.tracer
    return tracer.create_proxy("call_module", tracer.path_of_module(layer), (input,), {})


class _BatchNorm:
    """Mixin: torch's bookkeeping of the running statistics, then `ops.batch_norm`."""

    def forward(self, input: Tensor) -> Tensor:
        if isinstance(input, Proxy):
            return recorded(self, input)
        self._check_input_dim(input)
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the average of all batches
                momentum = 1.0 / float(self.num_batches_tracked)
        mean, variance = self.running_mean, self.running_var
        of_batch = self.training or (mean is None and variance is None)
        if self.training and not self.track_running_stats:
            mean = variance = None
        return ops.batch_norm(input, mean, variance, self.weight, self.bias, of_batch, momentum, self.eps)


class _Lazy:
    """Mixin: the drop-in of its kind after the first call, which says how many channels there are."""


BatchNorm1d, BatchNorm2d, BatchNorm3d = dimensions.layers(
    "BatchNorm", _BatchNorm, "[N, C, {space}], in one dimension [N, C] too -> the same."
)
LazyBatchNorm1d, LazyBatchNorm2d, LazyBatchNorm3d = dimensions.layers(
    "LazyBatchNorm",
    _Lazy,
    "becomes our `BatchNorm{n}d` at its first call.",
    cls_to_become=[BatchNorm1d, BatchNorm2d, BatchNorm3d],
)


class _InstanceNorm:
    """Mixin: torch's own checks, then `ops.instance_norm`."""

    def forward(self, input: Tensor) -> Tensor:
        return recorded(self, input) if isinstance(input, Proxy) else super().forward(input)

    def _apply_instance_norm(self, input: Tensor) -> Tensor:
        of_input = self.training or not self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        statistics = self.running_mean, self.running_var
        return ops.instance_norm(input, *statistics, self.weight, self.bias, of_input, momentum, self.eps)


InstanceNorm1d, InstanceNorm2d, InstanceNorm3d = dimensions.layers(
    "InstanceNorm", _InstanceNorm, "[N, C, {space}] -> the same, N being optional."
)
LazyInstanceNorm1d, LazyInstanceNorm2d, LazyInstanceNorm3d = dimensions.layers(
    "LazyInstanceNorm",
    _Lazy,
    "becomes our `InstanceNorm{n}d` at its first call.",
    cls_to_become=[InstanceNorm1d, InstanceNorm2d, InstanceNorm3d],
)
