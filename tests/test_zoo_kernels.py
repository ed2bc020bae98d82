"""How much of every published model's work our kernels can do."""

import pytest
import torch
from built import needs_kernels

from nnzoo_fast import models, nn
from nnzoo_fast.models.registry import PUBLISHED
from nnzoo_fast.models.summary import kernel_share

pytestmark = needs_kernels


@pytest.mark.parametrize("name", PUBLISHED)
def test_kernels_can_do_nine_tenths_of_it(name):
    """Of the FLOPs that torch's counter sees in one call at the published size, products of matrices above all, at
    least 90 % belong to operations of ours whose CPU kernel takes that call. Whether it is chosen is another question:
    where stock torch is faster, it runs. Nothing is computed but graphs, which are made of their edges' values."""
    with torch.device("cpu" if PUBLISHED[name].family == "graph" else "meta"):
        found = kernel_share(models.create(name).eval(), *PUBLISHED[name].example())
    assert found.share >= 0.9, found.others


class Mixed(nn.Module):
    def __init__(self, stock: torch.nn.Module):
        super().__init__()
        self.ours, self.inner = nn.Linear(8, 8), nn.Sequential(stock)

    def forward(self, x):
        return self.inner(self.ours(x))


def test_a_stock_layer_is_found():
    found = kernel_share(Mixed(torch.nn.Linear(8, 64)), torch.randn(3, 8))
    assert found.kernels == 2 * 3 * 8 * 8 and found.share == pytest.approx(1 / 9)
    assert found.others == {"Mixed.inner.0: aten.addmm": 2 * 3 * 8 * 64}
    assert kernel_share(Mixed(nn.Linear(8, 64)), torch.randn(3, 8)).share == 1


def test_a_stock_product_between_layers_is_found():
    class Product(Mixed):
        def forward(self, x):
            return super().forward(x) @ torch.ones(64, 2, device=x.device)

    found = kernel_share(Product(nn.Linear(8, 64)), torch.randn(3, 8))
    assert found.others == {"Product: aten.mm": 2 * 3 * 64 * 2} and found.kernels == 2 * 3 * 8 * 72


def test_a_call_that_no_kernel_takes_is_found():
    model, x = nn.Linear(8, 8).half().to("meta"), torch.empty(3, 8, dtype=torch.float16, device="meta")
    (name,), found = kernel_share(model, x).others, kernel_share(model, x)
    assert found.share == 0 and name.startswith("linear: torch.float16 is not one of")
    assert kernel_share(model.float(), x.float()).share == 1
