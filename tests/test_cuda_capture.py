"""CUDA graphs capture every operation: nothing waits, nothing allocates outside of torch's allocator, and every kernel
runs on the stream and the device of its tensors."""

import importlib
import re
import shutil
import subprocess
from pathlib import Path

import captured
import matrix
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import nnzoo_fast
from nnzoo_fast import _extension, cuda_support
from nnzoo_fast.spec import Maker, run_with_gradients

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    path
    for pattern in ("ops/*/*.cu", "ops/*/*.cuh", "ops/*/*_cuda*.cpp", "common/*.cuh")
    for path in sorted((ROOT / "csrc").glob(pattern))
]
SPECS = [pytest.param(spec, id=spec.name) for spec in matrix.SPECS.values() if matrix.has_backend(spec, "cuemu")]

CAPTURABLE = {
    "cudaFuncGetAttributes",
    "cudaFuncSetAttribute",
    "cudaGetDriverEntryPointByVersion",
    "cudaGetErrorString",
    "cudaGetLastError",
    "cudaLaunchKernelExC",
}
"""What the kernels' objects may call of the runtime: launches, and what neither waits nor enters the stream."""


def calls_of_runtime(names):
    """What is called of CUDA's runtime and driver, beside what nvcc itself puts in."""
    return {name for name in names if re.fullmatch(r"cu(da)?[A-Z]\w*", name)}


def unknown_calls(text):
    code = re.sub(r"//.*", "", text)
    functions = calls_of_runtime(re.findall(r"\b(\w+)(?=\s*\()", code))
    return functions - CAPTURABLE - {"cudaLaunchKernelEx"} - {"cuTensorMapEncodeTiled"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_sources_call_nothing_that_waits_or_allocates(source):
    assert not unknown_calls(source.read_text())


def test_objects_call_nothing_that_waits_or_allocates():
    objects = sorted((ROOT / "build/ninja").glob("*/cuda/csrc/ops/*/*_cuda.o"))
    if not objects or shutil.which("nm") is None:
        pytest.skip("needs the CUDA kernels that nvcc builds, and nm")
    listing = subprocess.run(["nm", "--undefined-only", *objects], capture_output=True, text=True, check=True).stdout
    called = calls_of_runtime(line.split()[-1] for line in listing.splitlines() if line.strip())
    assert "cudaLaunchKernelExC" in called
    assert called <= CAPTURABLE


@pytest.mark.parametrize("call", ["cudaMalloc(&p, 4);", "cudaStreamSynchronize(s);", "cudaMemcpy (a, b, 4, kind);"])
def test_a_call_that_waits_is_noticed(call):
    assert unknown_calls(f"void f() {{ {call} }}")
    assert not unknown_calls(f"// {call}")


def bracketed(text, start):
    """What stands between the bracket at `start` and its partner, and where that is."""
    pairs = {"<": ">", "(": ")"}
    opening, depth, place = text[start], 0, start
    while True:
        if text[place] == opening:
            depth += 1
        elif text[place] == pairs[opening]:
            depth -= 1
        elif opening == "<" and text[place] == "(":
            place = bracketed(text, place)[1]
        if depth == 0:
            return text[start + 1 : place], place
        place += 1


def launches(text):
    """The argument lists of all launches in a source."""
    text = re.sub(r"//.*", "", text)
    for found in re.finditer(r"\blaunch(?:_together)?<", text):
        _, end = bracketed(text, found.end() - 1)
        yield bracketed(text, text.index("(", end))[0]


def without_stream(text):
    return [arguments for arguments in launches(text) if not re.search(r"\bstream_?\b", arguments)]


def test_every_launch_has_the_stream():
    found = {source: list(launches(source.read_text())) for source in SOURCES if source.name != "launch.cuh"}
    assert sum(map(len, found.values())) >= 20
    for source in found:
        assert not without_stream(source.read_text()), source.name


def test_a_launch_without_its_stream_is_noticed():
    assert without_stream("launch<kernel<T, 4>>(blocks(n), 256, 0, nullptr, out);")
    assert not without_stream("launch<kernel<T, 4>>(blocks(n), 256, 0, stream, out);")


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


READS_BACK = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero"}
"""On a GPU these wait for their result."""


@pytest.mark.skipif(_extension.load("_cuemu") is None, reason="needs the emulator (make build)")
@pytest.mark.parametrize("spec", SPECS)
def test_nothing_is_read_back(spec, monkeypatch):
    """What the `cuda` row does around its kernels is the same on the emulator."""
    module = importlib.import_module(f"nnzoo_fast.ops.{matrix.operation_of(spec.name).name}.cuda")
    recorder, runs = Recorder(), []

    def recorded(function):
        def run(*args):
            runs.append(function)
            with recorder:
                return function(*args)

        return run

    for name in ("forward", "backward"):
        monkeypatch.setattr(module, name, recorded(getattr(module, name)))
    for sample in spec.samples[:6]:
        call = sample.make(Maker())
        operation, args = matrix.reached_by(spec, call)
        if next(row for row in operation.table if row.name == "cuemu").supports(*args)[0]:
            with nnzoo_fast.backend("cuemu"):
                run_with_gradients(spec.function, call)
    assert len(set(runs)) == 2 and not recorder.names & READS_BACK


def test_reading_back_is_noticed():
    with Recorder() as recorder:
        torch.ones(2).sum().item()
    assert recorder.names & READS_BACK


def test_kernels_run_on_the_device_and_stream_of_their_tensor(monkeypatch):
    seen = []

    class Device:
        def __init__(self, device):
            self.device = device

        def __enter__(self):
            seen.append(("enter", self.device))

        def __exit__(self, *_):
            seen.append("exit")

    class Tensor:
        is_cuda, device = True, "cuda:3"

    class Stream:
        cuda_stream = 77

    class Module:
        @staticmethod
        def kernel(*args):
            seen.append(args)

    monkeypatch.setattr(torch.cuda, "device", Device)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(cuda_support, "module_of", lambda tensor: Module)
    cuda_support.call(Tensor(), "kernel", 1, 2)
    assert seen == [("enter", "cuda:3"), (1, 2, 77), "exit"]


AROUND_CALL = r"_extension\._cu|module_of\([^)]*\)\.(?!\w+_fits?\()|load\(\"_cu\w+\"\)\.(?!build_info)"


def test_operations_reach_their_kernels_through_call():
    """Which guards device and stream; only what launches nothing is asked of the kernels' module itself."""
    for path in sorted((ROOT / "nnzoo_fast/ops").glob("*/cuda*.py")):
        assert not re.search(AROUND_CALL, path.read_text()), path.name
    assert re.search(AROUND_CALL, "module_of(x).linear_product(x.data_ptr())")
    assert not re.search(AROUND_CALL, "return module_of(image).conv_direct_fits(numbers)")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("spec", SPECS)
def test_graphs_of_every_operation(spec, dtype):
    for sample in spec.samples[:6]:
        assert not captured.problems(spec, sample, dtype)
