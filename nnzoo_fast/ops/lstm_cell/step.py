"""One step of an LSTM as a sequence of one step, on the kernels of any backend of `lstm`."""

import functools
from collections.abc import Callable

from nnzoo_fast.ops.lstm.layers import Direction, contiguous, split_bias, weight_gradients
from nnzoo_fast.ops.lstm.weights import Weights


def one_step(kind: type[Direction], input, weights) -> Direction:
    own = Weights(*map(contiguous, weights), None)
    batch = input.shape[0]
    return kind([batch], batch, batch, own, None, False, input.dtype)


def forward_by(kind: type[Direction]) -> Callable[..., tuple]:
    def forward(input, hx, cx, w_ih, w_hh, b_ih, b_hh, training):
        from nnzoo_fast.ops.lstm_cell import allocate

        outputs = h, c, preactivations, cells = allocate(input, hx, cx, w_ih, w_hh, b_ih, b_hh, training)
        kept = (preactivations, cells) if training else (None, None)
        step = one_step(kind, input, (w_ih, w_hh, b_ih, b_hh))
        step.forward(input.contiguous(), hx.contiguous(), cx.contiguous(), h, None, c, *kept)
        return outputs

    return forward


def backward_by(kind: type[Direction]) -> Callable[..., tuple]:
    def backward(grads, args, outputs, needs):
        input, hx, cx, *weights = args
        new = functools.partial(input.new_empty, dtype=kind.gradient_dtype(input.dtype))
        grad_h, grad_c = (grad.contiguous() for grad in grads)
        wanted = Weights(*needs[3:], False)
        step = one_step(kind, input, weights)
        own = weight_gradients(step.weights, wanted, new)
        states = [new(t.shape) if need else None for t, need in zip(args[:3], needs[:3], strict=True)]
        into = (states[0], own.w_ih, own.w_hh, own.b_ih, None, *states[1:])
        hx = hx.contiguous()
        # An output is read only as the h of an earlier step, and there is none: hx stands in for it.
        step.backward(input.contiguous(), hx, cx.contiguous(), hx, *outputs[2:], grad_h, None, grad_c, into, False)
        return tuple(None if grad is None else grad.to(input.dtype) for grad in (*states, *split_bias(own, wanted)[:4]))

    return backward
