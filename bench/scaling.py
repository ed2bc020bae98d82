"""Whether time is linear in work, on one thread and on all, and what AVX2's products reach of AVX2's own peak.

    python bench/scaling.py bench/scaling.json

Each row takes a layer of the benchmark and 1/16 to 16 times its work, forward in float32, next to stock torch in turn.
A line says the time per unit of work against that at the layer's own size: 1 is linear, below 1 larger is cheaper.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from nnzoo_fast import _extension, ops  # noqa: E402
from nnzoo_fast.accelerate import accelerate  # noqa: E402
from nnzoo_fast.allocator import tune_allocator  # noqa: E402
from nnzoo_fast.benchmark.timing import Ratio, interleave, pinned  # noqa: E402
from nnzoo_fast.machine import Machine, peak_flops  # noqa: E402

TIMES = (1 / 16, 1 / 4, 1, 4, 16)
SECONDS = 0.5

Forward = Callable[[], Tensor]


def of_layer(make: Callable[[], nn.Module], *shape: int) -> dict[str, Forward]:
    stock = make().eval()
    ours, input = accelerate(make()).eval(), torch.randn(shape)
    return {"ours": lambda: ours(input), "stock": lambda: stock(input)}


def of_attention(batch: int, **settings) -> dict[str, Forward]:
    q, k, v = torch.randn(3, batch, 12, 512, 64)
    stock = nn.functional.scaled_dot_product_attention
    return {"ours": lambda: ops.attention(q, k, v, **settings), "stock": lambda: stock(q, k, v, **settings)}


LAYERS: dict[str, Callable[[float], dict[str, Forward]]] = {
    "linear 1024-4096, 256 rows": lambda x: of_layer(lambda: nn.Linear(1024, 4096), round(256 * x), 1024),
    "RNN I128 H256 B32, 100 steps": lambda x: of_layer(lambda: nn.RNN(128, 256), round(100 * x), 32, 128),
    "GRU I128 H256 B32, 100 steps": lambda x: of_layer(lambda: nn.GRU(128, 256), round(100 * x), 32, 128),
    "LSTM I128 H256 B32, 100 steps": lambda x: of_layer(lambda: nn.LSTM(128, 256), round(100 * x), 32, 128),
    "attention H12 S512 D64, 16 sequences": lambda x: of_attention(round(16 * x)),
    "causal attention H12 S512 D64, 16 sequences": lambda x: of_attention(round(16 * x), is_causal=True),
    "conv 1x1 256-64 56x56, 16 images": lambda x: of_layer(lambda: nn.Conv2d(256, 64, 1), round(16 * x), 256, 56, 56),
    "conv 3x3 192 depthwise 56x56, 16 images": lambda x: of_layer(
        lambda: nn.Conv2d(192, 192, 3, padding=1, groups=192), round(16 * x), 192, 56, 56
    ),
}


def scaling(name: str, threads: int) -> dict:
    """Times at each size: the ratio to stock torch, and time per work against the layer's own size."""
    torch.set_num_threads(threads)
    timings = {times: interleave(_by_number(LAYERS[name](times)), SECONDS, (3, 300))[0] for times in TIMES}
    at_one = timings[1]["ours"].median
    return {
        "layer": name,
        "threads": threads,
        "milliseconds": [1e3 * timings[times]["ours"].median for times in TIMES],
        "per_work": [timings[times]["ours"].median / times / at_one for times in TIMES],
        "ratios": [Ratio.of(timings[times]["ours"], timings[times]["stock"]).median for times in TIMES],
    }


def _by_number(calls: dict[str, Forward]) -> dict[str, Callable[[int], Tensor]]:
    return {name: lambda number, call=call: call() for name, call in calls.items()}


def of_peak(isa: str, threads: int) -> Iterator[dict]:
    """Float32 products on one instruction set, as part of that set's measured peak."""
    module, before = _extension._C, _extension._C.isa()
    torch.set_num_threads(threads)
    module.set_isa(isa)
    try:
        for rows, depth, columns in ((256, 1024, 4096), (512, 512, 512), (2048, 1024, 1024)):
            a, b = torch.randn(rows, depth), torch.randn(columns, depth)
            calls = _by_number({"ours": lambda a=a, b=b: ops.linear(a, b, backend="cpu")})
            seconds = interleave(calls, SECONDS, (3, 300))[0]["ours"].median
            flops = 2 * rows * depth * columns / seconds
            part = flops / peak_flops(torch.float32, [isa])
            yield {"isa": isa, "threads": threads, "product": f"{rows}x{depth}x{columns}", "flops": flops, "part": part}
    finally:
        module.set_isa(before)


def main(path: Path) -> None:
    threads = torch.get_num_threads()
    tune_allocator()
    found = {"machine": Machine.here().as_dict(), "times": TIMES, "scaling": [], "peak": []}
    counts = sorted({1, threads})
    with torch.no_grad(), pinned():
        for name in LAYERS:
            for count in counts:
                found["scaling"].append(row := scaling(name, count))
                per_work, ratios = (" ".join(f"{value:5.2f}" for value in row[key]) for key in ("per_work", "ratios"))
                print(f"{name:46} {count} threads: time per work {per_work}; times as fast as stock {ratios}")
        for isa in _extension._C.isas():
            for count in counts:
                for row in of_peak(isa, count):
                    found["peak"].append(row)
                    print(f"{isa:12} {count} threads {row['product']:16} {100 * row['part']:.0f} % of its peak")
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
