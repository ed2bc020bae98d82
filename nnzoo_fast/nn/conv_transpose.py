"""`ConvTranspose1d`, `ConvTranspose2d` and `ConvTranspose3d`, on `ops.conv_transpose`."""

from collections.abc import Callable

import torch

from nnzoo_fast.nn import dimensions, functional


class _ConvTranspose:
    """Mixin: find the output padding that leads to `output_size`, then call the class's own function."""

    _function: Callable

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        if self.padding_mode != "zeros":
            raise ValueError(f"Only `zeros` padding mode is supported for {type(self).__name__}")
        output_padding = self._output_padding(
            input,
            output_size,
            self.stride,
            self.padding,
            self.kernel_size,
            len(self.kernel_size),
            self.dilation,
        )
        settings = (self.stride, self.padding, output_padding, self.groups, self.dilation)
        return self._function(input, self.weight, self.bias, *settings)


class _LazyConvTranspose:
    cls_to_become: type


ConvTranspose1d, ConvTranspose2d, ConvTranspose3d = dimensions.layers(
    "ConvTranspose",
    _ConvTranspose,
    "[N, in_channels, {space}] -> [N, out_channels, {made}]; N is optional.",
    _function=[
        staticmethod(function)
        for function in (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
    ],
)

LazyConvTranspose1d, LazyConvTranspose2d, LazyConvTranspose3d = dimensions.layers(
    "LazyConvTranspose",
    _LazyConvTranspose,
    "becomes our `ConvTranspose{n}d` at its first call.",
    cls_to_become=[ConvTranspose1d, ConvTranspose2d, ConvTranspose3d],
)
