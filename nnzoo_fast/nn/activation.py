"""The activation layers, on `ops.activation`; those that work in place are torch's own functions."""

import torch

from nnzoo_fast.nn import functional
from nnzoo_fast.nn.drop_in import drop_in


@drop_in(torch.nn.ReLU)
class ReLU(torch.nn.ReLU):
    """`torch.nn.ReLU`: any shape -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.relu(input, self.inplace)


@drop_in(torch.nn.LeakyReLU)
class LeakyReLU(torch.nn.LeakyReLU):
    """`torch.nn.LeakyReLU`: any shape -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.leaky_relu(input, self.negative_slope, self.inplace)


@drop_in(torch.nn.ELU)
class ELU(torch.nn.ELU):
    """`torch.nn.ELU`: any shape -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.elu(input, self.alpha, self.inplace)


@drop_in(torch.nn.GELU)
class GELU(torch.nn.GELU):
    """`torch.nn.GELU`: any shape -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.gelu(input, self.approximate)


@drop_in(torch.nn.SiLU)
class SiLU(torch.nn.SiLU):
    """`torch.nn.SiLU`: any shape -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.silu(input, self.inplace)


@drop_in(torch.nn.Mish)
class Mish(torch.nn.Mish):
    """`torch.nn.Mish`: any shape -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.mish(input, self.inplace)


@drop_in(torch.nn.Hardswish)
class Hardswish(torch.nn.Hardswish):
    """`torch.nn.Hardswish`: any shape -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.hardswish(input, self.inplace)


@drop_in(torch.nn.Softplus)
class Softplus(torch.nn.Softplus):
    """`torch.nn.Softplus`: any shape -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.softplus(input, self.beta, self.threshold)


@drop_in(torch.nn.Tanh)
class Tanh(torch.nn.Tanh):
    """`torch.nn.Tanh`: any shape -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.tanh(input)


@drop_in(torch.nn.Sigmoid)
class Sigmoid(torch.nn.Sigmoid):
    """`torch.nn.Sigmoid`: any shape -> the same."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.sigmoid(input)
