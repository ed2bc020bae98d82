"""What `lstm` means."""

import torch

from nnzoo_fast.ops.lstm.weights import group
from nnzoo_fast.random import keep_mask


def sigmoid(x):
    """Differentiated through exp(-|x|): torch's own derivative, s * (1 - s), has no digits left where s is nearly 1."""
    e = torch.where(x < 0, x, -x).exp()
    return torch.where(x < 0, e, torch.ones_like(e)) / (1 + e)


def tanh(x):
    """The same, but near 0, where that would cost the value its digits."""
    e = torch.where(x < 0, 2 * x, -2 * x).exp()
    far = (1 - e) / (1 + e)
    return torch.where(x.abs() < 1, x.tanh(), torch.where(x < 0, -far, far))


def cell(gates, c):
    """One step from the pre-activations [N, 4 * hidden] in the order i, f, g, o: the new output and cell state."""
    i, f, g, o = gates.chunk(4, -1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def preactivations(x, h, w_ih, w_hh, b_ih, b_hh):
    gates = x @ w_ih.t() + h @ w_hh.t()
    for b in (b_ih, b_hh):
        gates = gates if b is None else gates + b
    return gates


def direction(steps, h, c, weights, reverse):
    """One direction of one layer over `steps`, a list of [n_t, in_features]; rows beyond n_t keep their state."""
    outputs = []
    for x in reversed(steps) if reverse else steps:
        n = x.shape[0]
        new_h, new_c = cell(preactivations(x, h[:n], *weights[:4]), c[:n])
        if weights.w_hr is not None:
            new_h = new_h @ weights.w_hr.t()
        h, c = torch.cat([new_h, h[n:]]), torch.cat([new_c, c[n:]])
        outputs.append(new_h)
    return outputs[::-1] if reverse else outputs, h, c


def dropped(steps, mask, probability):
    """`steps` where `mask` (all steps' rows one after another) keeps them, scaled so that the mean stays."""
    scale = 0.0 if probability == 1 else 1 / (1 - probability)
    masks = mask.split([x.shape[0] for x in steps])
    return [torch.where(keep, x * scale, torch.zeros_like(x)) for x, keep in zip(steps, masks, strict=True)]


def zero_state(input, first, directions, batch):
    """h0 and c0 for a caller who gave none."""
    h0 = input.new_zeros((directions, batch, first.out_features))
    c0 = h0 if first.w_hr is None else input.new_zeros((directions, batch, first.hidden_size))
    return h0, c0


def reference(
    input, h0, c0, weights, batch_sizes=None, seed=None, bias=True, num_layers=1, dropout=0.0, bidirectional=False
):
    """Output, h_n and c_n of a stack of LSTM layers; shapes as in `lstm`, time first."""
    count = 2 if bidirectional else 1
    grouped = group(weights, bias, num_layers * count)
    if h0 is None:
        h0, c0 = zero_state(input, grouped[0], num_layers * count, input.shape[1])
    steps = list(input.unbind(0) if batch_sizes is None else input.split(batch_sizes.tolist()))
    if seed is not None:
        rows = sum(x.shape[0] for x in steps)
        masks = keep_mask(seed, (num_layers - 1, rows, count * grouped[0].out_features), dropout)
    h_n, c_n = [], []
    for layer in range(num_layers):
        if layer > 0 and seed is not None:
            steps = dropped(steps, masks[layer - 1], dropout)
        outputs = []
        for index in range(layer * count, (layer + 1) * count):
            reverse = index % count == 1
            found, h, c = direction(steps, h0[index], c0[index], grouped[index], reverse)
            outputs.append(found)
            h_n.append(h)
            c_n.append(c)
        steps = [torch.cat(parts, -1) for parts in zip(*outputs, strict=True)] if bidirectional else outputs[0]
    output = torch.stack(steps) if batch_sizes is None else torch.cat(steps)
    return output, torch.stack(h_n), torch.stack(c_n)
