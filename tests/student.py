"""The programs of tests/cuemu/student: how each is launched, what it must give, and the mistake that its author may
have made on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent / "cuemu" / "student"


@dataclass(frozen=True)
class Program:
    """`arguments`: (name, array) for a pointer or the text of a number. `expected`: name -> array, exact or float32."""

    file: str
    kernel: str
    grid: str
    block: str
    make: Callable[[np.random.Generator], tuple[list, dict[str, np.ndarray]]]
    smem: int = 0


@dataclass(frozen=True)
class Mistake:
    """`old` becomes `new` in the file; `kind` must be found on the line that contains `at`, or pair with it."""

    file: str
    old: str
    new: str
    kind: str
    at: str


def vector_add(random):
    a, b = random.standard_normal((2, 1000)).astype(np.float32)
    return [("a", a), ("b", b), ("c", np.zeros_like(a)), "i32:1000"], {"c": a + b}


def matmul(random):
    a, b = random.standard_normal((37, 50)).astype(np.float32), random.standard_normal((50, 45)).astype(np.float32)
    c = np.full((37, 45), np.nan, np.float32)
    expected = (a.astype(float) @ b.astype(float)).astype(np.float32)
    return [("a", a), ("b", b), ("c", c), "i32:37", "i32:45", "i32:50"], {"c": expected}


def reduction(random):
    x = random.integers(-9, 9, 1000).astype(np.float32)
    padded = np.pad(x, (0, 24)).reshape(4, 256)
    return [("x", x), ("sums", np.zeros(4, np.float32)), "u32:1000"], {"sums": padded.sum(1)}


def histogram(random):
    data = random.integers(0, 256, 3000).astype(np.uint8)
    bins = np.bincount(data // 4, minlength=64).astype(np.uint32)
    return [("data", data), "i32:3000", ("bins", np.zeros(64, np.uint32))], {"bins": bins}


def transpose(random):
    x = random.standard_normal((70, 50)).astype(np.float32)
    return [("out", np.zeros((50, 70), np.float32)), ("x", x), "i32:50", "i32:70"], {"out": x.T}


def scan(random):
    x = random.integers(0, 9, 256).astype(np.float32)
    return [("out", np.zeros_like(x)), ("x", x), "i32:256"], {"out": np.cumsum(x) - x}


def stencil(random):
    x = random.integers(-99, 99, 512 + 6).astype(np.int32)
    out = np.convolve(x, np.ones(7, np.int32), "valid").astype(np.int32)
    return [("x", x), ("out", np.zeros(512, np.int32))], {"out": out}


def softmax(random):
    x = random.standard_normal((11, 75)).astype(np.float32)
    e = np.exp(x - x.max(1, keepdims=True))
    return [("x", x), ("y", np.zeros_like(x)), "i32:11", "i32:75"], {"y": e / e.sum(1, keepdims=True)}


def statistics(random):
    v = random.integers(-1000, 1000, 777).astype(np.int32)
    outputs = [("sum", np.zeros(1, np.uint64)), ("positive", np.zeros(1, np.int32)), ("maximum", np.zeros(1, np.int32))]
    expected = {"sum": v[v > 0].sum(), "positive": (v > 0).sum(), "maximum": v.max()}
    return [("v", v), "i32:777", *outputs], {name: np.array([value]) for name, value in expected.items()}


def axpy(random):
    x, y = random.standard_normal((2, 1024))
    return ["f64:0.5", ("x", x), ("y", y), "i64:1024"], {"y": y + 0.5 * x}


def tensor_cores(random):
    a, b = random.integers(-9, 9, (48, 64)).astype(np.float16), random.integers(-9, 9, (64, 32)).astype(np.float16)
    c = random.integers(-9, 9, (48, 32)).astype(np.float32)
    arguments = [("a", a), ("b", b), ("c", c), "i32:48", "i32:32", "i32:64", "f32:2", "f32:-1"]
    return arguments, {"c": 2 * (a.astype(np.float32) @ b.astype(np.float32)) - c}


PROGRAMS = [
    Program("vector_add.cu", "vectorAdd", "4", "256", vector_add),
    Program("matmul.cu", "MatrixMulKernel", "3,3", "16,16", matmul),
    Program("reduction.cu", "reduce", "4", "128", reduction, smem=512),
    Program("histogram.cu", "histogram", "3,1,1", "128", histogram),
    Program("transpose.cu", "transposeNoBankConflicts", "2,3", "32,8", transpose),
    Program("scan.cu", "prescan", "1", "128", scan, smem=1024),
    Program("stencil.cu", "stencil_1d", "4", "128", stencil),
    Program("softmax.cu", "softmax", "3", "32,4", softmax),
    Program("statistics.cu", "statistics", "3", "64", statistics),
    Program("tensor_cores.cu", "wmmaGemm", "2,1", "128", tensor_cores),
    Program("axpy.cu", "axpy<double, 2>", "2", "128", axpy),
]

MISTAKES = [
    Mistake("vector_add.cu", "if (i < n)", "if (i <= n)", "out_of_bounds", "C[i] = A[i] + B[i]"),
    Mistake("matmul.cu", "__syncthreads();  // tiles are used up", "", "race", "Pvalue += Mds"),
    Mistake(
        "reduction.cu",
        "sdata[tid] += sdata[tid + s];\n    }\n    __syncthreads();",
        "sdata[tid] += sdata[tid + s];\n      __syncthreads();\n    }",
        "deadlock",
        "      __syncthreads();",
    ),
    Mistake("histogram.cu", "atomicAdd(&localBins[data[i] / 4], 1)", "localBins[data[i] / 4]++", "race", "data[i] /"),
    Mistake("transpose.cu", "__syncthreads();", "", "race", "= tile[threadIdx.x]"),
    Mistake("scan.cu", "    offset >>= 1;\n    __syncthreads();", "    offset >>= 1;", "race", "float t = temp[ai];"),
    Mistake("stencil.cu", "if (threadIdx.x < RADIUS)", "if (threadIdx.x < 1)", "uninitialized", "result += temp"),
    Mistake(
        "softmax.cu",
        "if (row >= rows) return;",
        "if (row >= rows || threadIdx.x >= cols % WARP_SIZE) return;",
        "exited_lane",
        "__shfl_xor_sync(FULL_MASK, val, offset));",
    ),
    Mistake("statistics.cu", "atomicAdd(positive, 1);", "*positive += 1;", "race", "*positive += 1"),
    Mistake("tensor_cores.cu", "__syncthreads();  // before the next one", "", "race", "load_matrix_sync(b_frag"),
    Mistake("tensor_cores.cu", "row < M", "row <= M", "out_of_bounds", "load_matrix_sync(a_frag"),
    Mistake(
        "tensor_cores.cu",
        "wmma::load_matrix_sync(a_frag, A",
        "if (threadIdx.x % 32 < 16) wmma::load_matrix_sync(a_frag, A",
        "deadlock",
        "load_matrix_sync(a_frag",
    ),
    Mistake("axpy.cu", "(x + i)", "(x + i + 1)", "misaligned", "(x + i + 1)"),
]
