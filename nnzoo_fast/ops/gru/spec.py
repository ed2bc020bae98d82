"""The calls of `gru` that are checked and timed."""

import functools

from nnzoo_fast.ops.gru import gru
from nnzoo_fast.ops.gru.family import FAMILY
from nnzoo_fast.ops.gru_cell import gru_cell
from nnzoo_fast.recurrent.samples import Samples
from nnzoo_fast.recurrent.variants import ladder
from nnzoo_fast.spec import OpSpec, Sample

SAMPLES = Samples(FAMILY)

SPEC = OpSpec(
    name="gru",
    function=gru,
    stock=functools.partial(gru, backend="torch"),
    samples=[
        SAMPLES.shaped("T3-B2-I4-H5", 3, 2, 4, 5),
        SAMPLES.shaped("T5-B1-I7-H17-nobias-zero-state", 5, 1, 7, 17, bias=False, given=False),
        SAMPLES.shaped("T4-B7-I5-H67-bi", 4, 7, 5, 67, 1, True),
        SAMPLES.shaped("T3-B19-I33-H80-L2", 3, 19, 33, 80, 2),
        SAMPLES.shaped("T90-B6-I3-H9-chunks", 90, 6, 3, 9, given=False, long=True),
        SAMPLES.shaped("B4-T5-I6-H9-batch-first-bi", 5, 4, 6, 9, 1, True, batch_first=True),
        SAMPLES.shaped("T3-B26-I7-H21", 3, 26, 7, 21),
        SAMPLES.shaped("T2-B0-I3-H4", 2, 0, 3, 4),
        SAMPLES.packed("packed-9-5-5-1-L2-bi", (9, 5, 5, 1), 5, 19, 2, True),
        SAMPLES.with_dropout("dropout-0.5-L2-bi-packed", 0.5, 2, True, (4, 2, 1)),
        Sample("saturated", SAMPLES.saturated, ill_conditioned=True),
        Sample("zeros", SAMPLES.zeros),
        Sample("strided", SAMPLES.strided),
    ],
    errors=SAMPLES.errors(),
    bench=[
        SAMPLES.bench(100, 32, 128, 256, quick=True),
        SAMPLES.bench(35, 64, 32, 128, quick=True),
        SAMPLES.bench(128, 1, 256, 512, quick=True),
        SAMPLES.bench(50, 4, 64, 128),
        SAMPLES.bench(1, 32, 128, 256),
        SAMPLES.bench(64, 16, 128, 128, 2, True),
        SAMPLES.bench(50, 32, 64, 128, lengths=tuple(range(50, 18, -1)), quick=True),
    ],
    length=SAMPLES.length,
    variants=ladder(FAMILY, gru, gru_cell),
    traceable=False,
)
