"""What a measurement was made on: the machine, the versions, and its two roofs, measured."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import nnzoo_fast
from nnzoo_fast import _extension

PACKAGES = ("torch", "numpy", "triton", "zentorch", "torch_geometric", "torch_scatter", "onnxruntime")


@dataclass(frozen=True)
class Machine:
    """`isa` is None without the compiled CPU kernels, `commit` outside a checkout; `date` is UTC."""

    cpu: str
    cores: int
    threads: int
    isa: str | None
    gpu: str | None
    system: str
    python: str
    versions: dict[str, str]
    commit: str | None
    date: str

    @staticmethod
    def here() -> Machine:
        versions = {"nnzoo_fast": nnzoo_fast.__version__}
        for name in PACKAGES:
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                pass
        return Machine(
            cpu=cpu_name(),
            cores=len(physical_cpus()),
            threads=torch.get_num_threads(),
            isa=_extension._C.isa() if _extension._C else None,
            gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            system=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            versions=versions,
            commit=commit(),
            date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"),
        )

    def as_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        where = f"{self.cpu}, {self.threads} threads on {self.cores} cores, kernels for {self.isa or 'no ISA'}"
        gpu = f"; {self.gpu}" if self.gpu else ""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{where}{gpu}; Python {self.python}, {versions}; commit {self.commit or 'unknown'}; {self.date} UTC"

    @property
    def slug(self) -> str:
        """A short name for files: `"amd-epyc-9454-2-threads"`."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.cpu} {self.threads} threads".lower()).strip("-")


@dataclass(frozen=True)
class Roof:
    """What no kernel can beat here: FLOP/s of multiply-adds in registers, bytes/s of streaming main memory."""

    flops: float
    bytes: float

    def floor(self, flops: float, bytes: float) -> float:
        """The least seconds for this work."""
        return max(flops / self.flops, bytes / self.bytes)

    def is_memory_bound(self, flops: float, bytes: float) -> bool:
        return bytes / self.bytes > flops / self.flops


def cpu_name() -> str:
    """As the system calls it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def physical_cpus() -> list[int]:
    """One CPU number of each core that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    first_of_core = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            core = (topology / "physical_package_id").read_text(), (topology / "core_id").read_text()
        except OSError:
            core = cpu
        first_of_core.setdefault(core, cpu)
    return list(first_of_core.values())


def last_level_cache() -> int:
    """Bytes of the largest cache of CPU 0; 32 MiB where the system doesn't say."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        number, unit = re.fullmatch(r"(\d+)([KMG]?)", path.read_text().strip()).groups()
        sizes.append(int(number) << {"": 0, "K": 10, "M": 20, "G": 30}[unit])
    return max(sizes, default=32 << 20)


def commit() -> str | None:
    """The checkout's short commit, with `+` if files differ from it."""
    root = Path(nnzoo_fast.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        call = ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--dirty=+"]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def measure_roof(dtype: torch.dtype, device: str = "cpu") -> Roof:
    """The best of several runs on all of torch's threads; bf16 counts against float32's peak where the CPU has no own.

    Raises:
        RuntimeError: on the CPU, without the compiled kernels.
    """
    if device != "cpu":
        return Roof(_gpu_flops(dtype, device), _gpu_bytes(device))
    if _extension._C is None:
        raise RuntimeError(f"the roofs of the CPU are measured by the compiled kernels: {_extension.part('_C').reason}")
    return Roof(peak_flops(dtype, _extension._C.isas()[-3:]), _cpu_bytes())


def _best_rate(work, amount: float, seconds: float = 0.3) -> float:
    """`amount` per run of `work` over the fastest of the runs that fit into `seconds`, at least three."""
    work()
    fastest, runs, end = float("inf"), 0, time.perf_counter() + seconds
    while runs < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        fastest = min(fastest, time.perf_counter() - start)
        runs += 1
    return amount / fastest


def peak_flops(dtype: torch.dtype, isas: Sequence[str]) -> float:
    """FLOP/s of multiply-adds in registers on all of torch's threads, of the best of these instruction sets."""
    module, threads = _extension._C, torch.get_num_threads()
    chosen, rates = module.isa(), []
    try:
        for isa in isas:
            module.set_isa(isa)
            call = (500_000, _extension.DTYPE_CODES[dtype], threads)
            rates.append(_best_rate(lambda call=call: module.peak_flops(*call), module.peak_flops(*call)))
    finally:
        module.set_isa(chosen)
    return max(rates)


def _cpu_bytes() -> float:
    count = max(4 * last_level_cache() // 12, 1 << 22) // 16 * 16
    room = [torch.ones(count + 16) for _ in range(3)]
    a, b, c = (tensor.data_ptr() + -tensor.data_ptr() % 64 for tensor in room)
    threads = torch.get_num_threads()
    return _best_rate(lambda: _extension._C.stream_triad(a, b, c, 3.0, count, threads), 12 * count)


def _gpu_flops(dtype: torch.dtype, device: str) -> float:
    size = 8192 if dtype == torch.bfloat16 else 4096
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / _gpu_seconds(lambda: a @ b)


def _gpu_bytes(device: str) -> float:
    a, b = (torch.ones(1 << 28, device=device) for _ in range(2))
    return 8 * a.numel() / _gpu_seconds(lambda: a.copy_(b))


def _gpu_seconds(work) -> float:
    samples = []
    for _ in range(10):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        samples.append(start.elapsed_time(end) / 1e3)
    return statistics.median(samples)
