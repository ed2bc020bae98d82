"""What `log_softmax` means."""


def reference(input, dim):
    if input.numel() == 0:
        return input.clone()
    shifted = input - input.amax(dim, keepdim=True).detach()
    return shifted - shifted.exp().sum(dim, keepdim=True).log()
