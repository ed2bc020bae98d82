"""Every private torch name that this package uses, so that a torch release can break one file only."""

from collections.abc import Callable, Iterable

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.autograd import forward_ad
from torch.utils import _pytree

functorch_transforms_active = torch._C._are_functorch_transforms_active
dispatch_mode_depth = torch._C._len_torch_dispatch_stack
function_mode_depth = torch._C._len_torch_function_stack
is_legacy_batched = torch._C._functorch.is_legacy_batchedtensor
is_functorch_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
is_gradtracking = torch._C._functorch.is_gradtrackingtensor
functorch_unwrapped = torch._C._functorch.get_unwrapped
is_jit_tracing = torch._C._is_tracing
any_autocast_enabled = torch._C._is_any_autocast_enabled
is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
parse_to = torch._C._nn._parse_to
convolution_with_mode = torch._convolution_mode
canonical_mask = torch.nn.functional._canonical_mask
dtype_or_none = torch.nn.functional._none_or_dtype
reduction_code = torch.nn.functional._Reduction.get_enum

CPU_MULTIPLIES_BF16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
"""Whether oneDNN, behind torch's operators, has bfloat16 products of this CPU to use."""

TRACED_TENSOR_TYPES = (FakeTensor, FunctionalTensor)
"""Subclasses that stand for plain tensors while a program is traced."""


def constant_in_a_program(function: Callable) -> Callable:
    """`torch.compiler.assume_constant_result`, which would import Dynamo: called once, where a program is traced."""
    function._dynamo_marked_constant = True
    return function


def forward_mode_active() -> bool:
    """Whether a `torch.autograd.forward_ad.dual_level` is open."""
    return forward_ad._current_level >= 0


def transformed() -> bool:
    """Whether a functorch transform or a forward-mode level is active."""
    return functorch_transforms_active() or forward_mode_active()


def gradient_levels(tensor: torch.Tensor) -> int:
    """How many times gradients of `tensor` may be differentiated: levels of `torch.func.grad`, and autograd's own."""
    levels = 0
    while functorch_transforms_active() and is_functorch_wrapped(tensor):
        levels += is_gradtracking(tensor)
        tensor = functorch_unwrapped(tensor)
    return levels + (levels > 0 and tensor.requires_grad)


def watched() -> bool:
    """Whether a functorch transform, a forward-mode level or `torch.jit` tracing is active."""
    return transformed() or is_jit_tracing()


def has_free_sizes(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether a traced program leaves a size open; asking adds no guard."""
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # brings sympy, a second of imports

    return any(not statically_known_true(size < 2**48) for tensor in tensors for size in tensor.shape)


def register_pytree(cls: type, flatten: Callable, unflatten: Callable, name: str) -> None:
    """Makes `cls` a node of pytrees, also for torch.export; its context must be None."""
    _pytree.register_pytree_node(
        cls,
        flatten,
        unflatten,
        serialized_type_name=name,
        to_dumpable_context=lambda context: None,
        from_dumpable_context=lambda context: None,
        flatten_with_keys_fn=lambda x: ([(_pytree.SequenceKey(i), leaf) for i, leaf in enumerate(flatten(x)[0])], None),
    )
