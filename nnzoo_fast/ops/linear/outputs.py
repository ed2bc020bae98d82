"""What `linear` returns, and what its backward keeps."""

from nnzoo_fast.activations import is_kept, kept_outputs


def allocate(input, weight, bias, activation, training):
    shape = (*input.shape[:-1], weight.shape[0])
    return input.new_empty(shape), input.new_empty(shape) if is_kept(activation, training) else None


def keeps(args, needs):
    needs_input, needs_weight, _ = needs
    activation = args[3]
    if activation == "none":
        return (needs_weight, needs_input, False), (False, False)
    # The reference rebuilds the pre-activation from every input, as soon as the activation has a curvature.
    return (True, True, True), kept_outputs(activation)
