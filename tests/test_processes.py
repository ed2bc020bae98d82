"""Packed and plain layers in several Python threads, in forked and spawned workers, and on one thread of torch."""

import copy
import threading

import pytest
import torch
from built import needs_kernels
from torch.utils.data import DataLoader, Dataset

from nnzoo_fast import _extension, accelerate, nn, pack

pytestmark = needs_kernels
FEATURES, STEPS, BATCH, THREADS = 300, 6, 4, 4


class Mixed(torch.nn.Module):
    """Products, a recurrence, attention and a folded convolution."""

    def __init__(self):
        super().__init__()
        self.expand = torch.nn.Sequential(torch.nn.Linear(FEATURES, 256), torch.nn.GELU(), torch.nn.Linear(256, 64))
        self.recurrent = torch.nn.GRU(64, 64, batch_first=True, bidirectional=True)
        self.attend = torch.nn.MultiheadAttention(128, 4, batch_first=True)
        self.fold = torch.nn.Sequential(torch.nn.Conv1d(128, 64, 3), torch.nn.BatchNorm1d(64), torch.nn.ReLU())

    def forward(self, x):
        x = self.recurrent(self.expand(x))[0]
        return self.fold(self.attend(x, x, x, need_weights=False)[0].transpose(1, 2))


def mixed(packed=True):
    torch.manual_seed(0)
    model = accelerate(Mixed()).eval()
    return pack(model) if packed else model


def inputs(count):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(BATCH, STEPS, FEATURES, generator=generator) for _ in range(count)]


@torch.no_grad()
def run(model, x):
    return model(x)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
def test_python_threads_at_once_get_the_same_bits(packed):
    model, batches = mixed(packed), inputs(3)
    expected, start, wrong = [run(model, x) for x in batches], threading.Barrier(THREADS), []

    def work():
        torch.set_num_threads(2)
        start.wait()
        for _ in range(5):
            wrong.extend(n for n, x in enumerate(batches) if not torch.equal(run(model, x), expected[n]))

    workers = [threading.Thread(target=work) for _ in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_a_thread_that_packs_again_disturbs_no_other():
    """The classes and copies of layers change while others call them: every call gets old values or the same new."""
    model, (x,) = mixed(), inputs(1)
    expected, done, wrong = run(model, x), threading.Event(), []

    def work():
        try:
            while not done.is_set():
                torch.testing.assert_close(run(model, x), expected, rtol=1e-4, atol=1e-5)
        except BaseException as error:
            wrong.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(200):
        pack(model)
    done.set()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
def test_one_thread_of_torch_gets_the_bits_of_many(packed, threads):
    model, (x,) = mixed(packed), inputs(1)
    threads(4)
    many = run(model, x)
    threads(1)
    assert torch.equal(run(model, x), many)


def test_threads_of_a_loop_are_those_of_torch(threads, monkeypatch):
    """No oversubscription: a kernel is told torch's number in every call."""
    asked, kernel = [], _extension._C.linear_forward_packed
    monkeypatch.setattr(
        _extension._C, "linear_forward_packed", lambda *args: (asked.append(args[-1]), kernel(*args)) and None
    )
    layer, x = pack(nn.Linear(FEATURES, 256).eval()), torch.ones(3, FEATURES)
    for count in (1, 3):
        threads(count)
        run(layer, x)
    assert asked == [1, 3]


class Outputs(Dataset):
    """Each item is the output of the model in the worker, and on how many threads its kernels may run there."""

    def __init__(self, model, batches):
        self.model, self.batches = model, batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return run(self.model, self.batches[index]), _extension._C.usable_threads(torch.get_num_threads())


@pytest.mark.parametrize("start, workers", [("fork", 2), ("spawn", 1)])
def test_workers_of_a_data_loader(start, workers, threads):
    threads(2)
    model, batches = mixed(), inputs(3)
    expected = [run(model, x) for x in batches]  # the parent has had its threads: a forked child must not wait for them
    context = torch.multiprocessing.get_context(start)
    loader = DataLoader(Outputs(model, batches), batch_size=None, num_workers=workers, multiprocessing_context=context)
    for (found, count), value in zip(loader, expected, strict=True):
        torch.testing.assert_close(found, value)
        assert count == 1, "workers share the machine"


def test_a_forked_child_packs_and_writes_for_itself(threads):
    threads(2)
    model, (x,) = mixed(), inputs(1)
    before = run(model, x)
    context = torch.multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def child():
        torch.set_num_threads(1)  # torch's own operators would wait for the parent's threads
        with torch.no_grad():
            model.expand[0].weight.zero_()
        now = run(model, x)
        queue.put((torch.allclose(now, run(copy.deepcopy(model), x)), torch.equal(now, before)))

    process = context.Process(target=child)
    process.start()
    process.join(60)
    process.kill()
    assert process.exitcode == 0 and queue.get() == (True, False)
    assert torch.equal(run(model, x), before)
