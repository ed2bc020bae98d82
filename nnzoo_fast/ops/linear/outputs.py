"""What `linear` returns, and what its backward keeps."""

from nnzoo_fast.activations import kept_outputs


def allocate(input, weight, bias, activation, residual, training):
    shape = (*input.shape[:-1], weight.shape[0])
    kept = training and kept_outputs(activation, residual is not None)[1]
    return input.new_empty(shape), input.new_empty(shape) if kept else None


def keeps(args, needs):
    needs_input, needs_weight, *_ = needs
    *_, activation, residual = args
    if activation == "none":
        return (needs_weight, needs_input, False, False), (False, False)
    # The reference rebuilds the pre-activation from every input, as soon as the activation has a curvature.
    return (True, True, True, False), kept_outputs(activation, residual is not None)
