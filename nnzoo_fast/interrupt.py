"""Ctrl-C between the steps of a long job."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_between_steps() -> Iterator[Callable[[], None]]:
    """Holds a Ctrl-C back until the job calls the yielded function, which raises it as KeyboardInterrupt.

    Python raises KeyboardInterrupt wherever the signal finds it. During a step that may be below C++ frames, of the
    autograd engine or of a destructor, which can lose the exception, leave a mode of torch switched or end the process.
    A second Ctrl-C isn't held back. Where SIGINT isn't Python's own to raise, outside the main thread or under
    another handler, nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield lambda: None
        return
    pending = False

    def hold_back(number: int, frame: FrameType | None) -> None:
        nonlocal pending
        pending = True
        signal.signal(signal.SIGINT, before)

    def take() -> None:
        if pending:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hold_back)
    try:
        yield take
    finally:
        signal.signal(signal.SIGINT, before)
