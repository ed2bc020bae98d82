"""The shipped tables: which CPU this is, and what follows."""

import pytest
import torch

from nnzoo_fast import _compat, _extension, tables

ZEN5 = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\n"


def test_the_cpu_is_read_from_cpuinfo():
    assert tables.identity(ZEN5) == ("AuthenticAMD", 26)
    assert tables.identity("CPU implementer : 0x41\n") == ("", 0)


@pytest.mark.parametrize(
    "cpu, native, ours, rows, work, dtype, expected",
    [
        (("AuthenticAMD", 26), True, True, 512, 2**22, torch.float32, True),
        (("AuthenticAMD", 26), True, True, 512, 2**20, torch.float32, False),
        (("AuthenticAMD", 25), True, True, 512, 2**20, torch.float32, False),
        (("AuthenticAMD", 25), True, True, 512, 2**30, torch.float32, True),
        (("GenuineIntel", 6), True, True, 512, 2**30, torch.float32, False),
        (("GenuineIntel", 6), True, True, 4, 2**20, torch.float32, True),
        (("AuthenticAMD", 25), True, True, 512, 2**20, torch.bfloat16, True),
        (("AuthenticAMD", 25), True, False, 512, 2**30, torch.bfloat16, False),
        (("AuthenticAMD", 26), True, True, 512, 2**30, torch.bfloat16, False),
        (("AuthenticAMD", 26), False, False, 512, 2**30, torch.bfloat16, True),
    ],
)
def test_the_gemm_is_chosen_where_it_was_measured_to_win(monkeypatch, cpu, native, ours, rows, work, dtype, expected):
    monkeypatch.setattr(tables, "CPU", cpu)
    monkeypatch.setattr(_compat, "CPU_MULTIPLIES_BF16", native)
    monkeypatch.setattr(_extension, "MULTIPLIES_BF16", ours)
    pays, reason = tables.gemm_pays(rows, work, dtype)
    assert pays is expected and reason
