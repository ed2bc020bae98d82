"""`lstm_cell` on the kernels of `csrc/ops/lstm`: a sequence of one step."""

from nnzoo_fast.backends import Verdict, cpu_supports
from nnzoo_fast.ops.lstm.cpu import Direction, contiguous, split_bias, weight_gradients
from nnzoo_fast.ops.lstm.weights import Weights


def supports(input, *args) -> Verdict:
    return cpu_supports(input, "lstm_forward")


def pays(*args) -> Verdict:
    return True, "both products, the gates and the cell in one call"


def one_step(input, weights) -> Direction:
    own = Weights(*map(contiguous, weights), None)
    return Direction(1, input.shape[0], input.shape[0], own, None, False, input.dtype)


def forward(input, hx, cx, w_ih, w_hh, b_ih, b_hh, training):
    from nnzoo_fast.ops.lstm_cell import allocate

    outputs = h, c, gates, cells = allocate(input, hx, cx, w_ih, w_hh, b_ih, b_hh, training)
    step = one_step(input, (w_ih, w_hh, b_ih, b_hh))
    kept = (gates, cells) if training else (None, None)
    stride = hx.shape[1]
    step.forward(input.contiguous(), hx.contiguous(), cx.contiguous(), h.data_ptr(), stride, None, c, *kept)
    return outputs


def backward(grads, args, outputs, needs):
    input, hx, cx, *weights = args
    gates, cells = outputs[2:]
    grad_h, grad_c = (grad.contiguous() for grad in grads)
    wanted = Weights(*needs[3:], False)
    step = one_step(input, weights)
    own = weight_gradients(step.weights, wanted, gates.new_empty)
    states = [gates.new_empty(tensor.shape) if need else None for tensor, need in zip(args[:3], needs[:3], strict=True)]
    into = (states[0], own.w_ih, own.w_hh, own.b_ih, None, *states[1:])
    stride = hx.shape[1]
    state = (input.contiguous(), hx.contiguous(), cx.contiguous(), 0, stride)  # h is read as an earlier step's only
    step.backward(*state, (gates, cells), grad_h.data_ptr(), stride, None, grad_c, into, False)
    return tuple(None if grad is None else grad.to(input.dtype) for grad in (*states, *split_bias(own, wanted)[:4]))
