"""The calls of `lstm` that are checked and timed."""

import functools

from nnzoo_fast.ops.lstm import lstm
from nnzoo_fast.ops.lstm.family import FAMILY
from nnzoo_fast.ops.lstm_cell import lstm_cell
from nnzoo_fast.recurrent.samples import Samples, replaced
from nnzoo_fast.recurrent.variants import ladder
from nnzoo_fast.spec import OpSpec, Sample

SAMPLES = Samples(FAMILY)
call_of, packed_call, SIZE_ERRORS = SAMPLES.call_of, SAMPLES.packed_call, SAMPLES.size_errors()

ERRORS = [
    *SAMPLES.errors(),
    SAMPLES.wrong("c0-hidden", RuntimeError, r"hx\[1\]", hx=replaced(1, lambda m, _: m.normal(2, 3, 7))),
    SAMPLES.wrong("c0-dtype", RuntimeError, r"hx\[1\]", hx=replaced(1, lambda m, t: t.detach().double())),
]

ONE_TO_200 = tuple(1 + 199 * n // 31 for n in reversed(range(32)))

SPEC = OpSpec(
    name="lstm",
    function=lstm,
    stock=functools.partial(lstm, backend="torch"),
    samples=[
        SAMPLES.shaped("T3-B2-I4-H5", 3, 2, 4, 5),
        SAMPLES.shaped("T1-B2-I3-H4-zero-state", 1, 2, 3, 4, given=False),
        SAMPLES.shaped("T2-B3-I2-H3-L2-bi", 2, 3, 2, 3, 2, True),
        SAMPLES.packed("packed-3-2-2", (3, 2, 2), 3, 4),
        SAMPLES.shaped("T5-B1-I7-H17-nobias", 5, 1, 7, 17, bias=False),
        SAMPLES.shaped("T7-B13-I33-H20", 7, 13, 33, 20),
        SAMPLES.shaped("T4-B7-I5-H67-bi", 4, 7, 5, 67, 1, True),
        SAMPLES.shaped("T3-B19-I65-H130-L2", 3, 19, 65, 130, 2),
        SAMPLES.shaped("T6-B5-I9-H21-proj8", 6, 5, 9, 21, projection=8),
        SAMPLES.shaped("T3-B4-I6-H35-proj17-L3-bi-nobias", 3, 4, 6, 35, 3, True, False, 17),
        SAMPLES.shaped("T90-B6-I3-H8-chunks", 90, 6, 3, 8, given=False, long=True),
        SAMPLES.shaped("B4-T5-I6-H9-batch-first-bi", 5, 4, 6, 9, 1, True, batch_first=True),
        SAMPLES.shaped("T3-B26-I7-H21", 3, 26, 7, 21),
        SAMPLES.shaped("T2-B0-I3-H4", 2, 0, 3, 4),
        SAMPLES.packed("packed-9-5-5-2-1-L2-bi", (9, 5, 5, 2, 1), 5, 19, 2, True),
        SAMPLES.packed("packed-6-6-1-proj5-bi-zero-state", (6, 6, 1), 4, 18, 1, True, 5, False),
        SAMPLES.packed("packed-1-1", (1, 1), 3, 6),
        SAMPLES.packed("packed-300-to-1-bi", tuple(range(300, 0, -13)), 3, 6, 1, True, long=True),
        SAMPLES.with_dropout("dropout-0.4-L3", 0.4, 3),
        SAMPLES.with_dropout("dropout-0.5-L2-bi-packed", 0.5, 2, True, (4, 2, 1)),
        SAMPLES.with_dropout("dropout-1-L2", 1.0, 2),
        Sample("saturated", SAMPLES.saturated, ill_conditioned=True),
        Sample("zeros", SAMPLES.zeros),
        Sample("strided", SAMPLES.strided),
    ],
    errors=ERRORS,
    counted=[SAMPLES.shaped("T4-B16-I64-H64", 4, 16, 64, 64, given=False)],
    bench=[
        SAMPLES.bench(100, 32, 128, 256, quick=True),
        SAMPLES.bench(35, 64, 32, 128, quick=True),
        SAMPLES.bench(50, 8, 128, 256),
        SAMPLES.bench(50, 1, 128, 256, quick=True),
        SAMPLES.bench(50, 4, 64, 128),
        SAMPLES.bench(1, 32, 128, 256),
        SAMPLES.bench(50, 16, 64, 128, 1, True),
        SAMPLES.bench(50, 32, 128, 128, 2),
        SAMPLES.bench(50, 32, 256, 512),
        SAMPLES.bench(50, 32, 64, 128, lengths=tuple(range(50, 18, -1)), quick=True),
        SAMPLES.bench(35, 64, 512, 512),
        SAMPLES.bench(200, 32, 256, 256, lengths=ONE_TO_200),
        SAMPLES.bench(64, 16, 128, 128, 2, True),
    ],
    length=SAMPLES.length,
    variants=ladder(FAMILY, lstm, lstm_cell),
    traceable=False,
)
