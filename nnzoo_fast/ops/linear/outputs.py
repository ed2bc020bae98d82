"""What `linear` returns, and what its backward keeps."""

NEEDS_PREACTIVATION = ("gelu", "gelu_tanh", "silu")
"""Activations whose derivative can't be had from their output."""


def allocate(input, weight, bias, activation, training):
    shape = (*input.shape[:-1], weight.shape[0])
    kept = training and activation in NEEDS_PREACTIVATION
    return input.new_empty(shape), input.new_empty(shape) if kept else None


def keeps(args, needs):
    needs_input, needs_weight, _ = needs
    activation = args[3]
    if activation == "none":
        return (needs_weight, needs_input, False), (False, False)
    # The reference rebuilds the pre-activation from every input, as soon as the activation has a curvature.
    from_preactivation = activation in NEEDS_PREACTIVATION
    return (True, True, True), (not from_preactivation, from_preactivation)
