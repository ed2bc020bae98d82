"""Training a model in several processes (gloo), each on its part of every batch."""

import copy
import datetime
import os
import socket
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from nnzoo_fast import accelerate, operation, pack, restore
from nnzoo_fast.ops.linear import packed

STEPS, ROWS = 3, 8
PATIENCE = datetime.timedelta(seconds=60)


def _sharded(model, processes):
    mesh = init_device_mesh("cpu", (processes,))
    fully_shard(accelerate(model).doubled, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _packed(model, _):
    packed.SMALLEST = 0
    return DistributedDataParallel(pack(accelerate(model)))


SCENARIOS = {
    "packed, then DDP": _packed,
    "accelerate, then DDP": lambda model, _: DistributedDataParallel(accelerate(model)),
    "DDP, then accelerate": lambda model, _: accelerate(DistributedDataParallel(model)),
    "FSDP2": _sharded,
}


def launch(make, processes):
    """For each scenario and process that trains `make()`: the losses of the whole batch, and the operations reached."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            port = server.getsockname()[1]
        multiprocessing.spawn(_worker, (processes, port, make, folder), processes)
        ranks = [torch.load(os.path.join(folder, str(rank))) for rank in range(processes)]
    return {scenario: [rank[scenario] for rank in ranks] for scenario in SCENARIOS}


def alone(make):
    """The losses of the stock model in one process."""
    torch.manual_seed(0)
    return _train(make().eval(), lambda x: x, lambda loss: loss)


def _worker(rank, processes, port, make, folder):
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=processes, timeout=PATIENCE)

    def mean(loss):
        loss = loss.detach().clone()
        dist.all_reduce(loss)
        return loss / processes

    found = {}
    for scenario, wrap in SCENARIOS.items():
        reached = []
        operation._recorder = lambda op, values, way, reached=reached: reached.append((op.name, way))
        torch.manual_seed(0)
        model = wrap(make().eval(), processes)
        found[scenario] = _train(model, lambda x: x.chunk(processes)[rank], mean), reached
        operation._recorder = None
        if scenario == "packed, then DDP":
            _check_trained_weights_are_used(model.module)
    torch.save(found, os.path.join(folder, str(rank)))
    dist.destroy_process_group()


@torch.no_grad()
def _check_trained_weights_are_used(model):
    """Of layers that were packed before training."""
    assert any("_packed" in vars(layer) for layer in model.modules())
    x = torch.ones(2, 6)
    torch.testing.assert_close(model(x), restore(copy.deepcopy(model))(x))


def _train(model, part, mean):
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    generator = torch.Generator().manual_seed(3)
    losses = []
    for _ in range(STEPS):
        x = torch.randn(ROWS, 6, generator=generator)
        optimizer.zero_grad()
        loss = (model(part(x)) - part(x)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(mean(loss).item())
    return losses
