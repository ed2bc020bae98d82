"""Operations inside of CUDA graphs: a capture fails where anything waits or allocates outside of torch's allocator."""

from __future__ import annotations

import matrix
import torch

import nnzoo_fast
from nnzoo_fast.spec import Maker, OpSpec, Sample, outputs_of


def problems(spec: OpSpec, sample: Sample, dtype: torch.dtype) -> list[str]:
    """Captures forward and backward on the GPU, replays them on other values, and compares with the same calls outside
    of a graph: the bits must be the same."""
    operation, args = matrix.reached_by(spec, sample.make(Maker(dtype, "cuda")))
    if not next(row for row in operation.table if row.name == "cuda").supports(*args)[0]:
        return []
    call = sample.make(Maker(dtype, "cuda"))
    wanted = [tensor for tensor in call.tensors() if tensor.requires_grad]
    cotangents = []

    def run():
        outputs = [out for out in outputs_of(call.run(spec.function))]
        differentiable = [out for out in outputs if out.requires_grad]
        cotangents.extend(torch.randn_like(out) for out in differentiable[len(cotangents) :])
        if not wanted or not differentiable:
            return outputs
        return outputs + list(torch.autograd.grad(differentiable, wanted, cotangents, allow_unused=True))

    with nnzoo_fast.backend("cuda"):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = run()
        with torch.no_grad():
            for tensor in wanted:
                tensor.copy_(tensor * 0.5)
        torch.cuda.manual_seed(0)
        graph.replay()
        found = [None if tensor is None else tensor.clone() for tensor in found]
        torch.cuda.manual_seed(0)
        expected = run()
    return [
        f"{spec.name}-{sample.id}: result {place} of the graph is another"
        for place, (one, other) in enumerate(zip(found, expected, strict=True))
        if (one is None) != (other is None) or one is not None and not torch.equal(one.nan_to_num(), other.nan_to_num())
    ]
