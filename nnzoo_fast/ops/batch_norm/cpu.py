"""`batch_norm` on the kernels of `csrc/ops/channel_norm`."""

import torch

from nnzoo_fast.backends import Verdict
from nnzoo_fast.norms import channels


def supports(input, weight, bias, running_mean, running_var, use_input_stats, eps) -> Verdict:
    if any(tensor is not None and tensor.requires_grad for tensor in (running_mean, running_var)):
        return False, "running statistics that want gradients"
    return channels.supports(input, weight, bias)


def kind_of(input, weight, bias, running_mean, running_var, use_input_stats, eps) -> tuple[str, int]:
    return channels.kind_of("batch" if use_input_stats else "running", input, weight, bias)


def pays(input, weight, bias, running_mean, running_var, use_input_stats, eps) -> Verdict:
    return channels.pays("batch_norm", "batch" if use_input_stats else "running", input, weight, bias)


def forward(
    input, weight, bias, running_mean, running_var, use_input_stats, eps, training, two_sweeps: bool = False
) -> tuple:
    from nnzoo_fast.ops.batch_norm import allocate

    outputs = allocate(input, weight, bias, running_mean, running_var, use_input_stats, eps, training)
    output, mean, variance, kept = outputs
    shape = channels.shape_of(input, input.shape[1], True, two_sweeps)
    if use_input_stats:
        rstd = torch.empty_like(mean) if kept is None else kept
        channels.forward(input, weight, bias, (output, mean, rstd, variance), shape, eps, False)
    else:
        mean, rstd = given(input, running_mean, running_var, eps)
        channels.forward(input, weight, bias, (output, mean, rstd, None), shape, eps, True)
    return outputs


def forward_in_two_sweeps(*args) -> tuple:
    """Statistics of all channels first, then the results."""
    return forward(*args, two_sweeps=True)


def given(input, running_mean, running_var, eps) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and rstd of the running statistics, in the dtype of sums."""
    dtype = torch.float64 if input.dtype == torch.float64 else torch.float32
    with torch.no_grad():
        return running_mean.to(dtype).contiguous(), (running_var.to(dtype) + eps).rsqrt()


def backward(grads, args, outputs, needs):
    input, weight, bias, running_mean, running_var, use_input_stats, eps = args
    shape = channels.shape_of(input, input.shape[1], True)
    if use_input_stats:
        mean, rstd = outputs[1], outputs[3]
    else:
        mean, rstd = given(input, running_mean, running_var, eps)
        grads = (grads[0], None, None)
    return *channels.backward(grads, input, weight, bias, mean, rstd, shape, not use_input_stats, needs), None, None
