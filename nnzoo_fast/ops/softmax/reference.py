"""What `softmax` means."""


def reference(input, dim):
    if input.numel() == 0:
        return input.clone()
    exponential = (input - input.amax(dim, keepdim=True).detach()).exp()
    return exponential / exponential.sum(dim, keepdim=True)
