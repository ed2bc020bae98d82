"""Networks that pass messages along edges: the general form, objects that interact, and graphs that become graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from nnzoo_fast import nn
from nnzoo_fast.graph import Graph


def perceptron(*sizes: int, is_hidden: bool = False) -> nn.Sequential:
    """Linear layers with ReLU between them, and behind the last one if the result `is_hidden`."""
    layers = []
    for size, next_size in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(size, next_size), nn.ReLU()]
    return nn.Sequential(*layers if is_hidden else layers[:-1])


class MessagePassingNetwork(nn.Module):
    """Layers h_u' = phi(h_u, aggregate over the edges v -> u of psi(h_u, h_v, e_uv)), the form of all networks here.

    psi and phi are given for each layer, or are two linear layers with ReLU between them, of [h_u, h_v, e_uv] and of
    [h_u, aggregate]. Between layers stands no other activation. With the defaults: 50,068 parameters.

    Args:
        sizes: features of a node before the first, between, and behind the last of the layers; of messages too.
        edge_dim: features of an edge, 0 for none.
        aggr: how a node's messages become one, "sum", "mean", "max" or any that `nn.MessagePassing` knows.
        psi, phi: a module or function for each layer, as `nn.MessagePassingLayer` takes them. Several reductions need
            a phi.

    Raises:
        ValueError: fewer than two sizes, or psi and phi for another number of layers.
    """

    def __init__(
        self,
        sizes: Sequence[int] = (64, 64, 64, 2),
        edge_dim: int = 0,
        aggr: str | Sequence[str] = "sum",
        psi: Sequence[Callable] | None = None,
        phi: Sequence[Callable] | None = None,
    ):
        super().__init__()
        pairs = list(zip(sizes, sizes[1:], strict=False))
        if not pairs:
            raise ValueError(f"MessagePassingNetwork: sizes must name at least two numbers, got {list(sizes)}")
        for name, given in (("psi", psi), ("phi", phi)):
            if given is not None and len(given) != len(pairs):
                raise ValueError(f"MessagePassingNetwork: {name} is for {len(given)} layers, expected {len(pairs)}")
        if psi is None:
            psi = [nn.Joint(perceptron(2 * size + edge_dim, after, after)) for size, after in pairs]
        if phi is None:
            phi = [nn.Joint(perceptron(size + after, after, after)) for size, after in pairs]
        self.layers = nn.ModuleList(nn.MessagePassingLayer(*each, aggr) for each in zip(psi, phi, strict=True))

    def forward(
        self, x: torch.Tensor, edge_index: torch.Tensor | Graph, edge_attr: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[N, sizes[0]], int64 [2, E] (source, target) or a `Graph`, [E, edge_dim] -> [N, sizes[-1]]."""
        if not isinstance(edge_index, Graph):
            edge_index = Graph(edge_index, x.shape[0])
        for layer in self.layers:
            x = layer(x, edge_index, edge_attr)
        return x


class InteractionNetwork(nn.MessagePassingLayer):
    """Objects that act on each other: Battaglia et al., "Interaction networks for learning about objects, relations and
    physics" (2016).

    A relation from one object to another has the effect relation_model([receiver, sender, relation]); the sum of an
    object's effects (not their mean: forces add up) goes into object_model([object, external, effects]). The relation
    model is `psi`, the object model `phi`. As published for bodies that attract each other, with five numbers an
    object, one a relation, effects of 50 and velocities in the plane: 83,102 parameters.

    Args:
        object_dim: numbers of an object's state.
        relation_dim: numbers of a relation, 0 for none.
        external_dim: numbers of what acts from outside on each object, 0 for nothing.
        effect_dim: size of an effect.
        out_channels: what is said about each object, such as its next velocity.
        relation_hidden, object_hidden: sizes of the two models' hidden layers.
    """

    def __init__(
        self,
        object_dim: int = 5,
        relation_dim: int = 1,
        external_dim: int = 0,
        effect_dim: int = 50,
        out_channels: int = 2,
        relation_hidden: Sequence[int] = (150, 150, 150, 150),
        object_hidden: Sequence[int] = (100,),
    ):
        relation_model = perceptron(2 * object_dim + relation_dim, *relation_hidden, effect_dim)
        object_model = perceptron(object_dim + external_dim + effect_dim, *object_hidden, out_channels)
        super().__init__(nn.Joint(relation_model), nn.Joint(object_model))

    def forward(
        self,
        x: torch.Tensor,
        edge_index: torch.Tensor | Graph,
        edge_attr: torch.Tensor | None = None,
        external: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """[N, object_dim], int64 [2, E] (sender, receiver) or a `Graph`, [E, relation_dim], [N, external_dim] ->
        [N, out_channels]."""
        return self.phi(x, external, self.received((x, x), edge_index, edge_attr))


class GraphNetwork(nn.Module):
    """A graph that becomes another in steps: Battaglia et al., "Relational inductive biases, deep learning, and graph
    networks" (2018), encode-process-decode.

    Nodes, edges and the whole are encoded apart; a block (`nn.GraphNetwork`), the same in each step, sees what was
    encoded next to its own last result; the outputs are decoded apart. The block updates an edge from [receiver,
    sender, edge, whole], then a node from [node, the sum of its incoming edges, whole], then the whole from [whole,
    sums of all edges and of all nodes]. Networks are linear layers with ReLU behind each, then layer norm, as in the
    authors' library. With the defaults: 8,197 parameters.

    Args:
        in_channels: features of (a node, an edge, the whole).
        out_channels: the same of the result.
        hidden_channels: size of every layer.
        num_layers: linear layers of each network.
        steps: how often the block is applied.
    """

    def __init__(
        self,
        in_channels: tuple[int, int, int] = (5, 1, 1),
        out_channels: tuple[int, int, int] = (2, 2, 1),
        hidden_channels: int = 16,
        num_layers: int = 2,
        steps: int = 10,
    ):
        super().__init__()
        if steps < 1 or num_layers < 1:
            raise ValueError(f"GraphNetwork: steps is {steps} and num_layers {num_layers}, expected at least 1 of both")
        self.steps, size = steps, hidden_channels

        def network(inputs: int) -> nn.Sequential:
            return nn.Sequential(*perceptron(inputs, *[size] * num_layers, is_hidden=True), nn.LayerNorm(size))

        self.encoders = nn.ModuleList(network(inputs) for inputs in in_channels)
        models = _EdgeModel(network(8 * size)), _NodeModel(network(5 * size)), _GlobalModel(network(4 * size))
        self.block = nn.GraphNetwork(*models)
        self.decoders = nn.ModuleList(network(size) for _ in out_channels)
        self.heads = nn.ModuleList(nn.Linear(size, outputs) for outputs in out_channels)

    def forward(
        self,
        x: torch.Tensor,
        edge_index: torch.Tensor | Graph,
        edge_attr: torch.Tensor,
        u: torch.Tensor,
        batch: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Nodes [N, *], int64 [2, E] (source, target) or a `Graph`, edges [E, *], each graph as a whole [B, *], and the
        graph of each node int64 [N] (None: one graph) -> nodes, edges and wholes."""
        if not isinstance(edge_index, Graph):
            edge_index = Graph(edge_index, x.shape[0])
        if batch is None:
            batch = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
        encoded = [encoder(part) for encoder, part in zip(self.encoders, (x, edge_attr, u), strict=True)]
        latent = encoded
        for _ in range(self.steps):
            x, edge_attr, u = (torch.cat(pair, dim=-1) for pair in zip(encoded, latent, strict=True))
            latent = self.block(x, edge_index, edge_attr, u, batch)
        parts = zip(self.heads, self.decoders, latent, strict=True)
        return tuple(head(decoder(part)) for head, decoder, part in parts)


class _EdgeModel(nn.Joint):
    def forward(self, source, target, edge_attr, u, batch):
        return super().forward(target, source, edge_attr, u[batch])


class _NodeModel(nn.Joint):
    def forward(self, x, edge_index, edge_attr, u, batch):
        return super().forward(x, nn.reduce_edges(edge_attr, edge_index), u[batch])


class _GlobalModel(nn.Joint):
    def forward(self, x, edge_index, edge_attr, u, batch):
        count = u.shape[0]
        of_edges = nn.global_add_pool(edge_attr, batch[edge_index.edge_index[0]], count)
        return super().forward(u, of_edges, nn.global_add_pool(x, batch, count))
