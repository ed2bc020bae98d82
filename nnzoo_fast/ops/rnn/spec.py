"""The calls of `rnn` that are checked and timed."""

import functools

from nnzoo_fast.ops.rnn import rnn
from nnzoo_fast.ops.rnn.family import FAMILY
from nnzoo_fast.ops.rnn_cell import rnn_cell
from nnzoo_fast.recurrent.samples import Samples
from nnzoo_fast.recurrent.variants import ladder
from nnzoo_fast.spec import OpSpec, Sample

SAMPLES = Samples(FAMILY)

SPEC = OpSpec(
    name="rnn",
    function=rnn,
    stock=functools.partial(rnn, backend="torch"),
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
        SAMPLES.shaped("T5-B7-I5-H35-relu", 5, 7, 5, 35, nonlinearity="relu"),
        SAMPLES.packed("packed-5-2-L2-bi-relu", (5, 2), 4, 9, 2, True, nonlinearity="relu"),
        SAMPLES.with_dropout("dropout-0.5-L2-bi-packed", 0.5, 2, True, (4, 2, 1)),
        Sample("saturated", SAMPLES.saturated, ill_conditioned=True),
        Sample("zeros", SAMPLES.zeros),
        Sample("strided", SAMPLES.strided),
    ],
    errors=[
        *SAMPLES.errors(),
        SAMPLES.wrong("nonlinearity", ValueError, "nonlinearity", nonlinearity=lambda m, _: "gelu"),
    ],
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
    variants=ladder(FAMILY, rnn, rnn_cell),
    traceable=False,
)
