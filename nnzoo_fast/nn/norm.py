"""The normalisation layers, on the operations of the same names."""

import torch
from torch import Tensor
from torch.fx import Proxy

from nnzoo_fast import ops
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


@drop_in(torch.nn.BatchNorm1d)
class BatchNorm1d(_BatchNorm, torch.nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d`: [N, C] or [N, C, L] -> the same."""


@drop_in(torch.nn.BatchNorm2d)
class BatchNorm2d(_BatchNorm, torch.nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`: [N, C, H, W] -> the same."""


@drop_in(torch.nn.BatchNorm3d)
class BatchNorm3d(_BatchNorm, torch.nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d`: [N, C, D, H, W] -> the same."""


@drop_in(torch.nn.LazyBatchNorm1d)
class LazyBatchNorm1d(torch.nn.LazyBatchNorm1d):
    """`torch.nn.LazyBatchNorm1d`, which becomes our `BatchNorm1d` at its first call."""

    cls_to_become = BatchNorm1d


@drop_in(torch.nn.LazyBatchNorm2d)
class LazyBatchNorm2d(torch.nn.LazyBatchNorm2d):
    """`torch.nn.LazyBatchNorm2d`, which becomes our `BatchNorm2d` at its first call."""

    cls_to_become = BatchNorm2d


@drop_in(torch.nn.LazyBatchNorm3d)
class LazyBatchNorm3d(torch.nn.LazyBatchNorm3d):
    """`torch.nn.LazyBatchNorm3d`, which becomes our `BatchNorm3d` at its first call."""

    cls_to_become = BatchNorm3d


class _InstanceNorm:
    """Mixin: torch's own checks, then `ops.instance_norm`."""

    def forward(self, input: Tensor) -> Tensor:
        return recorded(self, input) if isinstance(input, Proxy) else super().forward(input)

    def _apply_instance_norm(self, input: Tensor) -> Tensor:
        of_input = self.training or not self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        statistics = self.running_mean, self.running_var
        return ops.instance_norm(input, *statistics, self.weight, self.bias, of_input, momentum, self.eps)


@drop_in(torch.nn.InstanceNorm1d)
class InstanceNorm1d(_InstanceNorm, torch.nn.InstanceNorm1d):
    """`torch.nn.InstanceNorm1d`: [N, C, L] -> the same, N being optional."""


@drop_in(torch.nn.InstanceNorm2d)
class InstanceNorm2d(_InstanceNorm, torch.nn.InstanceNorm2d):
    """`torch.nn.InstanceNorm2d`: [N, C, H, W] -> the same, N being optional."""


@drop_in(torch.nn.InstanceNorm3d)
class InstanceNorm3d(_InstanceNorm, torch.nn.InstanceNorm3d):
    """`torch.nn.InstanceNorm3d`: [N, C, D, H, W] -> the same, N being optional."""


@drop_in(torch.nn.LazyInstanceNorm1d)
class LazyInstanceNorm1d(torch.nn.LazyInstanceNorm1d):
    """`torch.nn.LazyInstanceNorm1d`, which becomes our `InstanceNorm1d` at its first call."""

    cls_to_become = InstanceNorm1d


@drop_in(torch.nn.LazyInstanceNorm2d)
class LazyInstanceNorm2d(torch.nn.LazyInstanceNorm2d):
    """`torch.nn.LazyInstanceNorm2d`, which becomes our `InstanceNorm2d` at its first call."""

    cls_to_become = InstanceNorm2d


@drop_in(torch.nn.LazyInstanceNorm3d)
class LazyInstanceNorm3d(torch.nn.LazyInstanceNorm3d):
    """`torch.nn.LazyInstanceNorm3d`, which becomes our `InstanceNorm3d` at its first call."""

    cls_to_become = InstanceNorm3d
