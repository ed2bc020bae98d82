"""The measured equality of the zoo: small models here, all of them with `-m published`, and what is on record."""

import json

import pytest
import torch
from built import needs_kernels

from nnzoo_fast.models import equality, peers
from nnzoo_fast.models.registry import PUBLISHED

SMALL = ["mlp", "lenet", "m3", "fcn", "gru_classifier"]


def held_against_its_peer(name):
    try:
        return equality.measure(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"no peer here: {error}")


@needs_kernels
@pytest.mark.parametrize("name", SMALL)
def test_small_models_equal_their_peers(name):
    found = held_against_its_peer(name)
    assert found.equal, found
    assert found.model == name and found.float64 < 1e-12 and 0 < found.output < 1e-5


@needs_kernels
@pytest.mark.published
@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in SMALL])
def test_published_models_equal_their_peers(name):
    found = held_against_its_peer(name)
    assert found.equal, found


@needs_kernels
@pytest.mark.parametrize("other", [torch.nn.Tanh(), torch.nn.LeakyReLU(1e-6)], ids=["tanh", "leaky"])
def test_another_activation_is_no_peer(monkeypatch, other):
    def wrong():
        network = peers.vision.lenet()
        network.features[1] = other
        return network

    monkeypatch.setitem(peers.PEERS, "lenet", wrong)
    monkeypatch.setattr(equality, "NEIGHBOURS", 2)
    found = equality.measure("lenet")
    assert not found.equal and found.float64 > 1e-8 and str(found).startswith("NOT EQUAL")


def test_other_sizes_are_no_peer(monkeypatch):
    monkeypatch.setitem(peers.PEERS, "lenet", peers.vision.quickstart)
    with pytest.raises(ValueError, match="features.0.weight is missing"):
        equality.measure("lenet")
    monkeypatch.delitem(peers.PEERS, "lenet")
    with pytest.raises(peers.NoPeer, match="no peer of lenet"):
        equality.measure("lenet")


def test_what_is_on_record_is_equal():
    known = equality.recorded()
    assert set(known) <= set(PUBLISHED)
    assert not [row.model for row in known.values() if not row.equal]


def test_a_measurement_replaces_the_one_before(tmp_path):
    rows = list(equality.recorded().values())[:2]
    path = tmp_path / "rows.json"
    equality.write(rows[1:], path)
    equality.write(rows[:1], path)
    equality.write(rows[:1], path)
    assert [row["model"] for row in json.loads(path.read_text())] == [row.model for row in rows]
