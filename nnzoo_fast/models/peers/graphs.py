"""The graph networks as others compose them from PyTorch Geometric, with our names of parameters."""

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch_geometric.utils import scatter

L, S = torch.nn.Linear, torch.nn.Sequential


def perceptron(*sizes, hidden=False):
    layers = [layer for pair in zip(sizes, sizes[1:], strict=False) for layer in (L(*pair), torch.nn.ReLU())]
    return S(*layers if hidden else layers[:-1])


class Network(torch.nn.Module):
    """A network under the name that `nn.Joint` gives it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *parts):
        return self.network(torch.cat([part for part in parts if part is not None], -1))


class Layer(pyg.MessagePassing):
    def __init__(self, psi, phi, aggr="sum"):
        super().__init__(aggr)
        self.psi, self.phi = Network(psi), Network(phi)

    def forward(self, x, edge_index, edge_attr=None, *external):
        return self.phi(x, *external, self.propagate(edge_index, x=x, edge_attr=edge_attr))

    def message(self, x_i, x_j, edge_attr):
        return self.psi(x_i, x_j, edge_attr)


class MessagePassingNetwork(torch.nn.Module):
    def __init__(self, sizes, edge_dim, aggr="sum"):
        super().__init__()
        pairs = zip(sizes, sizes[1:], strict=False)
        self.layers = torch.nn.ModuleList(
            Layer(perceptron(2 * a + edge_dim, b, b), perceptron(a + b, b, b), aggr) for a, b in pairs
        )

    def forward(self, x, edge_index, edge_attr=None):
        for layer in self.layers:
            x = layer(x, edge_index, edge_attr)
        return x


def interaction_network(objects, relations, external, effect, out, relation_hidden, object_hidden):
    model = perceptron(2 * objects + relations, *relation_hidden, effect)
    return Layer(model, perceptron(objects + external + effect, *object_hidden, out))


class GraphNetwork(torch.nn.Module):
    def __init__(self, inputs, outputs, size, steps):
        super().__init__()

        def network(channels):
            return S(*perceptron(channels, size, size, hidden=True), torch.nn.LayerNorm(size))

        class Edge(Network):
            def forward(self, source, target, edge_attr, u, batch):
                return super().forward(target, source, edge_attr, u[batch])

        class Node(Network):
            def forward(self, x, edge_index, edge_attr, u, batch):
                return super().forward(x, scatter(edge_attr, edge_index[1], 0, len(x), "sum"), u[batch])

        class Whole(Network):
            def forward(self, x, edge_index, edge_attr, u, batch):
                of_edges = scatter(edge_attr, batch[edge_index[0]], 0, len(u), "sum")
                return super().forward(u, of_edges, scatter(x, batch, 0, len(u), "sum"))

        self.steps = steps
        self.encoders = torch.nn.ModuleList(map(network, inputs))
        self.block = pyg.MetaLayer(Edge(network(8 * size)), Node(network(5 * size)), Whole(network(4 * size)))
        self.decoders = torch.nn.ModuleList(network(size) for _ in outputs)
        self.heads = torch.nn.ModuleList(L(size, out) for out in outputs)

    def forward(self, x, edge_index, edge_attr, u, batch):
        encoded = latent = [encoder(part) for encoder, part in zip(self.encoders, (x, edge_attr, u), strict=True)]
        for _ in range(self.steps):
            nodes, edges, whole = (torch.cat(pair, 1) for pair in zip(encoded, latent, strict=True))
            latent = self.block(nodes, edge_index, edges, whole, batch)
        return tuple(head(decoder(part)) for head, decoder, part in zip(self.heads, self.decoders, latent, strict=True))


class MPNN(torch.nn.Module):
    def __init__(self, channels, edge_dim, out, size, edge_channels, steps, questions, aggr="mean"):
        super().__init__()
        self.steps = steps
        self.lin0 = L(channels, size)
        network = S(L(edge_dim, edge_channels), torch.nn.ReLU(), L(edge_channels, size * size))
        self.conv = pyg.NNConv(size, size, network, aggr=aggr)
        self.gru = torch.nn.GRU(size, size)
        self.set2set = pyg.Set2Set(size, questions)
        self.lin1, self.lin2 = L(2 * size, size), L(size, out)

    def forward(self, x, edge_index, edge_attr, batch, size):
        out = F.relu(self.lin0(x))
        h = out.unsqueeze(0)
        for _ in range(self.steps):
            out, h = self.gru(F.relu(self.conv(out, edge_index, edge_attr)).unsqueeze(0), h)
            out = out.squeeze(0)
        return self.lin2(F.relu(self.lin1(self.set2set(out, batch, dim_size=size))))


class DGCNN(torch.nn.Module):
    """Neighbours are found by hand: PyTorch Geometric's DynamicEdgeConv needs a package of its own for that."""

    def __init__(self, out, channels, embedding, k):
        super().__init__()

        def normed(a, b, bias=False):
            return S(L(a, b, bias), torch.nn.BatchNorm1d(b), torch.nn.LeakyReLU(0.2))

        self.k = k
        self.convs = torch.nn.ModuleList(
            pyg.EdgeConv(normed(2 * a, b), "max") for a, b in zip((3, *channels), channels, strict=False)
        )
        self.conv = normed(sum(channels), embedding)
        drop = torch.nn.Dropout(0.0)
        self.head = S(*normed(2 * embedding, 512), drop, *normed(512, 256, True), drop, L(256, out))

    def forward(self, x, batch, size):
        found = []
        for conv in self.convs:
            far = torch.cdist(x.double(), x.double()).masked_fill(batch[:, None] != batch, torch.inf)
            near = far.topk(self.k, largest=False).indices
            x = conv(x, torch.stack([near.flatten(), torch.arange(len(x)).repeat_interleave(self.k)]))
            found.append(x)
        x = self.conv(torch.cat(found, 1))
        return self.head(torch.cat([pyg.global_max_pool(x, batch, size), pyg.global_mean_pool(x, batch, size)], 1))


class GraphClassifier(torch.nn.Module):
    def __init__(self, channels, out, size, layers, pooling, ratio):
        super().__init__()
        self.convs = torch.nn.ModuleList(pyg.GraphConv(size if n else channels, size) for n in range(layers))
        kind = {"topk": pyg.TopKPooling, "sag": pyg.SAGPooling}.get(pooling)
        self.pools = torch.nn.ModuleList(kind(size, ratio) if kind else torch.nn.Identity() for _ in range(layers))
        self.lin1, self.lin2, self.lin3 = L(2 * size, size), L(size, size // 2), L(size // 2, out)

    def forward(self, x, edge_index, batch, size):
        total = 0
        for conv, pool in zip(self.convs, self.pools, strict=True):
            x = F.relu(conv(x, edge_index))
            if not isinstance(pool, torch.nn.Identity):
                x, edge_index, _, batch, _, _ = pool(x, edge_index, None, batch)
            total = total + torch.cat([pyg.global_max_pool(x, batch, size), pyg.global_mean_pool(x, batch, size)], 1)
        return self.lin3(F.relu(self.lin2(F.relu(self.lin1(total)))))


class VariationalGCN(torch.nn.Module):
    def __init__(self, channels, size, out):
        super().__init__()
        self.conv1 = pyg.GCNConv(channels, size)
        self.conv_mu, self.conv_logstd = pyg.GCNConv(size, out), pyg.GCNConv(size, out)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        return self.conv_mu(x, edge_index), self.conv_logstd(x, edge_index)
