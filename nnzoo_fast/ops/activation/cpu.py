"""`activation` on the kernels of `csrc/ops/activation`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, cpu_supports, wants_gradients
from nnzoo_fast.ops.activation.functions import CODES, FUNCTIONS

NEVER = 2**63

WINS_FROM = {
    "tanh": (2**13, 2**16),
    "gelu_tanh": (2**13, 2**16),
    "elu": (2**13, 2**16),
    "mish": (2**13, 2**16),
    "gelu": (2**16, 2**16),
    "silu": (2**16, 2**20),
    "sigmoid": (2**16, NEVER),
}
"""Values from which functions run in fewer instructions than stock torch's, forward and in training."""

LOW = (torch.float32, torch.bfloat16)
SINGLE = {"gelu": (torch.float32,), "silu": LOW, "sigmoid": LOW}
"""Those that do so in csrc/ops/activation/single.h alone, and the dtypes that this makes faster than stock torch."""

STREAMED = 2**25
"""Bytes from which outputs stream past the caches: `streamed_bytes` in csrc/common/elementwise.h."""

WINS_STREAMING = ("relu", "leaky_relu", "hardswish")
WINS_STREAMING_IN_TRAINING = (*WINS_STREAMING, "sigmoid", "silu")


def supports(input, function, parameters) -> Verdict:
    return cpu_supports(input, "activation_forward")


def pays(input, function, parameters) -> Verdict:
    training = wants_gradients(input)
    least = WINS_FROM.get(function, (NEVER, NEVER))[training]
    if input.dtype not in SINGLE.get(function, (input.dtype,)):
        least = NEVER
    if input.numel() >= least:
        return True, "fewer instructions a value"
    streaming = WINS_STREAMING_IN_TRAINING if training else WINS_STREAMING
    if function in streaming and input.numel() * input.element_size() >= STREAMED:
        return True, "results stream past the caches"
    if input.numel() < least < NEVER:
        return False, f"fewer than {least} values: done before our way to a kernel is"
    return False, "stock torch needs as little time"


def laid_out_like(tensor: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
    """`tensor`, or a copy of it, in the memory layout of `pattern`, which is dense."""
    if tensor.stride() == pattern.stride():
        return tensor
    return torch.empty_like(pattern).copy_(tensor)


def numbers(tensor, function, parameters) -> tuple:
    first, second = (*parameters, 0.0, 0.0)[:2]
    return (
        tensor.numel(),
        CODES[function],
        first,
        second,
        _extension.DTYPE_CODES[tensor.dtype],
        torch.get_num_threads(),
    )


def forward(input, function, parameters, training):
    output = torch.empty_like(input)  # in the input's layout if that is dense, whatever the order of its dimensions
    source = input if input.stride() == output.stride() else output.copy_(input)
    _extension._C.activation_forward(source.data_ptr(), output.data_ptr(), *numbers(output, function, parameters))
    return (output,)


def backward(grads, args, outputs, needs):
    input, function, parameters = args
    kept = input if FUNCTIONS[function].of_output is None else outputs[0]
    grad_input = torch.empty_like(kept)
    kept, grad = laid_out_like(kept, grad_input), laid_out_like(grads[0], grad_input)
    _extension._C.activation_backward(
        grad.data_ptr(), kept.data_ptr(), grad_input.data_ptr(), *numbers(kept, function, parameters)
    )
    return (grad_input,)
