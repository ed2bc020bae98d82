"""A Ctrl-C is taken where the job asks for it, the second one at once."""

import signal
import threading

import pytest

from nnzoo_fast.interrupt import interrupts_between_steps


@pytest.fixture
def python_takes_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_first_waits_and_second_does_not(python_takes_interrupts):
    with interrupts_between_steps() as take:
        take()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            take()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handler_is_back_afterwards(python_takes_interrupts):
    with pytest.raises(RuntimeError), interrupts_between_steps():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_handlers_and_other_threads_are_left_alone(python_takes_interrupts):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts_between_steps() as take:
        signal.raise_signal(signal.SIGINT)
        take()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)
    handlers = []

    def elsewhere():
        with interrupts_between_steps() as take:
            handlers.append(signal.getsignal(signal.SIGINT))
            take()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
