"""The steps of bench/gpu_check.sh. Each has a share of the time, says what it found, and stops no other."""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench/results"
SECONDS = 540
FLUSHED_BYTES = 256 << 20  # more than the largest L2

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import gpu_counters  # noqa: E402


class Check:
    """The run: how much time is left, on what the kernels run, and what was found."""

    def __init__(self, rehearse: bool, seconds: float):
        self.rehearse, self.end = rehearse, time.monotonic() + seconds
        self.step_end = self.end
        self.device, self.backend = ("cpu", "cuemu") if rehearse else ("cuda", "cuda")
        self.found: dict = {"rehearsal": rehearse, "steps": {}}
        self.failed: list[str] = []

    def left(self) -> float:
        """Seconds that the current step may still take."""
        return min(self.step_end, self.end) - time.monotonic()

    def step(self, name: str, function, seconds: float) -> None:
        """Runs one step; what it returns is recorded, `failures` in it fail the whole check."""
        start = time.monotonic()
        self.step_end = start + seconds
        try:
            result = function(self) if self.left() > 0 else {"unfinished": "out of time"}
        except Exception as error:
            traceback.print_exc()
            result = {"failures": [f"{type(error).__name__}: {error}"]}
        result["seconds"] = round(time.monotonic() - start, 1)
        self.found["steps"][name] = result
        failures = result.get("failures", [])
        self.failed += [f"{name}: {failure}" for failure in failures]
        state = f"{len(failures)} failures" if failures else result.get("skipped") or "ok"
        print(f"{name:<22}{result['seconds']:>7.1f} s  {state} {result.get('unfinished', '')}", flush=True)


def environment(build_packages: Path) -> dict[str, str]:
    """For a Python without the pybind11 package, the headers that torch ships stand in."""
    if importlib.util.find_spec("pybind11") is None:
        import torch

        package = build_packages / "pybind11"
        package.mkdir(exist_ok=True)
        headers = Path(torch.__file__).parent / "include"
        (package / "__init__.py").write_text(f"def get_include():\n    return {str(headers)!r}\n")
    paths = [str(build_packages), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def machine(check: Check) -> dict:
    import torch

    info = {"python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda}
    info["triton"] = importlib.util.find_spec("triton") and __import__("triton").__version__
    info["commit"] = output_of("git", "rev-parse", "HEAD")
    info["nvcc"] = output_of("nvcc", "--version").rpartition("V")[2].split("\n")[0]
    if not check.rehearse:
        properties = torch.cuda.get_device_properties(0)
        info["gpu"], info["multiprocessors"] = properties.name, properties.multi_processor_count
        info["driver"] = output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return info


def output_of(*command: str) -> str:
    """What a tool says, "" where it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip() if done.returncode == 0 else ""


def build(check: Check) -> dict:
    if check.rehearse:
        return {"skipped": "a rehearsal uses what is built"}
    settings = {"NNZOO_BUILD_CUDA": "1", "NNZOO_BUILD_CUEMU": "1"}
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        variables = {**environment(Path(directory)), **settings}
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=check.left())
    if done.returncode:
        return {"failures": [(done.stdout + done.stderr)[-4000:]]}
    return {}


def every_call(check: Check):
    """(spec, dtype, sample) of the whole matrix."""
    import matrix
    import torch

    for spec in matrix.SPECS.values():
        for dtype in (*spec.dtypes, torch.float16):
            for sample in spec.samples[:2] if check.rehearse else spec.samples:
                yield spec, dtype, sample


def rungs(spec, backend: str) -> list[str]:
    """The rows of an operation's ladder on `backend`, the fastest first: "cuda", "cuda_tiled", ..."""
    import matrix

    return [row.name for row in matrix.operation_of(spec.name).table if re.match(f"{backend}(_|$)", row.name)]


def supported(spec, sample, dtype, backend: str, device: str) -> bool:
    import matrix

    from nnzoo_fast.spec import Maker

    if not matrix.has_backend(spec, backend):
        return False
    operation, args = matrix.reached_by(spec, sample.make(Maker(dtype, device)))
    return next(row for row in operation.table if row.name == backend).supports(*args)[0]


def matrix_of(backend: str):
    """The step that holds every operation, dtype and sample on every rung of `backend` against the float64 oracle."""

    def test_matrix(check: Check) -> dict:
        import matrix

        import nnzoo_fast

        counts, failures = {}, []
        for spec, dtype, sample in every_call(check):
            if check.left() < 0:
                return {"run": counts, "failures": failures, "unfinished": f"stopped at {spec.name}, {dtype}"}
            for rung in rungs(spec, backend):
                label = f"{spec.name}-{rung}-{str(dtype).removeprefix('torch.')}-{sample.id}"
                try:
                    if not supported(spec, sample, dtype, rung, check.device):
                        continue
                    with nnzoo_fast.backend(**{matrix.operation_of(spec.name).name: rung}):
                        problems = matrix.deviations(spec, sample, dtype, spec.function, check.device)
                except Exception as error:
                    problems = [f"{type(error).__name__}: {error}"]
                counts[spec.name] = counts.get(spec.name, 0) + 1
                failures += [f"{label}: {problem}" for problem in problems]
        return {"run": counts, "failures": failures}

    return test_matrix


def emulator_against_hardware(check: Check) -> dict:
    """The largest deviation between the two, in units of the dtype's eps, by operation, rung and dtype."""
    import matrix
    import torch

    import nnzoo_fast
    from nnzoo_fast.spec import Error, Maker, run_with_gradients

    worst, failures = {}, []
    for spec, dtype, sample in every_call(check):
        if check.left() < 0:
            return {"worst": worst, "failures": failures, "unfinished": f"stopped at {spec.name}, {dtype}"}
        for rung in rungs(spec, "cuemu"):
            if not supported(spec, sample, dtype, rung, "cpu"):
                continue
            results = []
            for row, device in ((rung, "cpu"), (rung.replace("cuemu", check.backend), check.device)):
                with nnzoo_fast.backend(**{matrix.operation_of(spec.name).name: row}):
                    results.append(sum(run_with_gradients(spec.function, sample.make(Maker(dtype, device))), []))
            key = f"{spec.name}-{rung}-{str(dtype).removeprefix('torch.')}"
            for one, other in zip(*results, strict=True):
                distance = Error.of(other, one.double()).frobenius / torch.finfo(dtype).eps
                if distance > worst.get(key, {"eps": -1.0})["eps"]:
                    worst[key] = {"eps": distance, "sample": sample.id}
                if not torch.isfinite(one).equal(torch.isfinite(other).cpu()):
                    failures.append(f"{key}-{sample.id}: not finite in the same places")
    return {"worst": worst, "failures": failures}


def cuda_graphs(check: Check) -> dict:
    """Forward and backward of every operation, captured and replayed."""
    if check.rehearse:
        return {"skipped": "needs a GPU"}
    import captured
    import torch

    failures = []
    for spec, dtype, sample in every_call(check):
        if check.left() < 0:
            return {"failures": failures, "unfinished": f"stopped at {spec.name}, {dtype}"}
        if dtype in (torch.float32, torch.bfloat16) and supported(spec, sample, dtype, "cuda", "cuda"):
            try:
                failures += captured.problems(spec, sample, dtype)
            except Exception as error:
                failures.append(f"{spec.name}-{dtype}-{sample.id}: {type(error).__name__}: {error}")
    return {"failures": failures}


SANITIZED = """
import sys; sys.path[:0] = {paths!r}
import matrix, torch, nnzoo_fast
from nnzoo_fast.spec import Maker, run_with_gradients
for spec in matrix.SPECS.values():
    if matrix.has_backend(spec, "cuda"):
        for dtype in (torch.float32, torch.bfloat16):
            for sample in spec.samples[:4]:
                with nnzoo_fast.backend("cuda"):
                    run_with_gradients(spec.function, sample.make(Maker(dtype, "cuda")))
torch.cuda.synchronize()
"""


def sanitizer(check: Check) -> dict:
    tool = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if check.rehearse or tool is None:
        return {"skipped": "compute-sanitizer is not installed" if tool is None else "needs a GPU"}
    script = SANITIZED.format(paths=sys.path[:2])
    result, failures = {}, []
    for kind in ("memcheck", "racecheck"):
        command = [
            tool,
            "--tool",
            kind,
            "--error-exitcode",
            "9",
            "--kernel-name",
            "kernel_substring=nnzoo",
        ]
        try:
            limit = max(1.0, min(90.0, check.left()))
            done = subprocess.run(
                [*command, sys.executable, "-c", script], capture_output=True, text=True, timeout=limit, cwd=ROOT
            )
        except subprocess.TimeoutExpired:
            result[kind] = "did not end in time"
            continue
        lines = [line for line in done.stdout.splitlines() if line.startswith("=========")]
        result[kind] = lines[-1].strip("= ") if lines else done.stderr[-400:]
        if done.returncode == 9:
            failures.append(f"{kind}: " + " / ".join(lines[:6]))
    return {**result, "failures": failures}


def milliseconds(run, check: Check) -> float:
    """One call with a cold L2, by events on the stream."""
    import torch

    if check.rehearse:
        start = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - start)
    milliseconds.flushed = getattr(milliseconds, "flushed", None)
    if milliseconds.flushed is None:
        milliseconds.flushed = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device="cuda")
    milliseconds.flushed.zero_()
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    before.record()
    run()
    after.record()
    after.synchronize()
    return before.elapsed_time(after)


def benchmark(check: Check) -> dict:
    """Forward of every bench case: our backends and stock torch, interleaved; medians."""
    import matrix
    import torch

    import nnzoo_fast
    from nnzoo_fast.spec import Maker

    rows = []
    for spec in matrix.SPECS.values():
        for case in spec.bench[:1] if check.rehearse else spec.bench:
            for dtype in (torch.float32,) if check.rehearse else (torch.float32, torch.bfloat16):
                if check.left() < 0 or (check.rehearse and case.flops > 1e7):
                    continue
                call = case.make(Maker(dtype, check.device, grad=False))
                runs = {"torch": lambda spec=spec, call=call: call.run(spec.stock)}
                for backend in (check.backend,) if check.rehearse else ("cuda", "triton"):
                    if supported(spec, case, dtype, backend, check.device):

                        def ours(spec=spec, call=call, backend=backend):
                            with nnzoo_fast.backend(backend):
                                return call.run(spec.function)

                        runs[backend] = ours
                if len(runs) == 1:
                    continue
                with torch.no_grad():
                    samples = {name: [] for name in runs}
                    for turn in range(2 if check.rehearse else 13):
                        for name, run in runs.items():
                            spent = milliseconds(run, check)
                            if turn > 0:  # the first calls load and compile
                                samples[name].append(spent)
                medians = {name: round(statistics.median(values), 4) for name, values in samples.items()}
                rows.append({"op": spec.name, "case": case.id, "dtype": str(dtype), "flops": case.flops, "ms": medians})
    return {"rows": rows}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="run the steps on the emulator, small, without a GPU")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="stop starting new work after so long")
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    options = parser.parse_args()
    import torch

    if not options.rehearse and not torch.cuda.is_available():
        print("gpu_check: this machine's torch sees no CUDA GPU; --rehearse runs the steps on the emulator")
        return 2
    check = Check(options.rehearse, options.seconds)
    backend = check.backend
    check.step("machine", machine, 30)
    check.step("build", build, 180)
    check.step(f"test matrix, {backend}", matrix_of(backend), 120)
    check.step("emulator, hardware", emulator_against_hardware, 90)
    check.step("CUDA graphs", cuda_graphs, 60)
    check.step("compute-sanitizer", sanitizer, 120)
    check.step("Nsight Compute", gpu_counters.nsight, 120)
    check.step("benchmark", benchmark, 120)
    if not options.rehearse:
        check.step("test matrix, triton", matrix_of("triton"), SECONDS)  # compiles a kernel per shape: whatever is left
    check.found["failed"] = check.failed
    gpu = re.sub(r"\W+", "-", check.found["steps"]["machine"].get("gpu", "emulator")).lower()
    path = options.out or RESULTS / f"{datetime.date.today()}-{gpu}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(check.found, indent=1, default=str) + "\n")
    print(*check.failed[:40], f"wrote {path}", sep="\n")
    return bool(check.failed)


if __name__ == "__main__":
    sys.exit(main())
