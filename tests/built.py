"""What of the C++ extension is part of this installation: the ISAs of its CPU kernels, and a mark for their tests."""

import pytest

from nnzoo_fast import _extension

ISAS = tuple(_extension._C.isas()) if _extension._C else ()
needs_kernels = pytest.mark.skipif(_extension._C is None, reason="the C++ kernels are not part of this installation")
