"""The loop over steps, directions and layers, step by step in plain PyTorch."""

import torch

from nnzoo_fast.random import keep_mask
from nnzoo_fast.recurrent.family import Family
from nnzoo_fast.recurrent.weights import group


def sigmoid(x):
    """Differentiated through exp(-|x|): torch's own derivative, s * (1 - s), has no digits left where s is nearly 1."""
    e = torch.where(x < 0, x, -x).exp()
    return torch.where(x < 0, e, torch.ones_like(e)) / (1 + e)


def tanh(x):
    """The same, but near 0, where that would cost the value its digits."""
    e = torch.where(x < 0, 2 * x, -2 * x).exp()
    far = (1 - e) / (1 + e)
    return torch.where(x.abs() < 1, x.tanh(), torch.where(x < 0, -far, far))


def linear(x, weight, bias):
    return x @ weight.t() if bias is None else x @ weight.t() + bias


def direction(step, steps, states, reverse):
    """One direction of one layer over `steps`, a list of [n_t, in_features]; rows beyond n_t keep their state.

    `step(x, *states)` returns the new states, h first.
    """
    outputs = []
    for x in reversed(steps) if reverse else steps:
        n = x.shape[0]
        new = step(x, *(state[:n] for state in states))
        states = [torch.cat([own, state[n:]]) for own, state in zip(new, states, strict=True)]
        outputs.append(new[0])
    return outputs[::-1] if reverse else outputs, states


def dropped(steps, mask, probability):
    """`steps` where `mask` (all steps' rows one after another) keeps them, scaled so that the mean stays."""
    scale = 0.0 if probability == 1 else 1 / (1 - probability)
    masks = mask.split([x.shape[0] for x in steps])
    return [torch.where(keep, x * scale, torch.zeros_like(x)) for x, keep in zip(steps, masks, strict=True)]


def stack(family: Family, step, *args):
    """The `reference` of an operation: output, h_n (and c_n).

    `step(x, *states, weights, *options)` is one step of its cell: the new states, h first.
    """
    call = family.call(args)
    grouped, states = group(call.weights, call.bias, call.directions), call.states
    if states[0] is None:
        states = family.zero_states(call.input, call.weights, call.bias, call.directions, call.input.shape[1])
    steps = list(call.input.unbind(0) if call.batch_sizes is None else call.input.split(call.batch_sizes.tolist()))
    if call.seed is not None:
        rows = sum(x.shape[0] for x in steps)
        masks = keep_mask(call.seed, (call.num_layers - 1, rows, call.count * grouped[0].out_features), call.dropout)
    finals = []
    for layer in range(call.num_layers):
        if layer > 0 and call.seed is not None:
            steps = dropped(steps, masks[layer - 1], call.dropout)
        outputs = []
        for index in range(layer * call.count, (layer + 1) * call.count):

            def own_step(x, *states, weights=grouped[index]):
                return step(x, *states, weights, *call.options)

            found, final = direction(own_step, steps, [state[index] for state in states], index % call.count == 1)
            outputs.append(found)
            finals.append(final)
        steps = [torch.cat(parts, -1) for parts in zip(*outputs, strict=True)] if call.bidirectional else outputs[0]
    output = torch.stack(steps) if call.batch_sizes is None else torch.cat(steps)
    return output, *(torch.stack(parts) for parts in zip(*finals, strict=True))
