"""A model of plain torch.nn layers, with what may stand in the way of exchanging them."""

import torch


class Classifier(torch.nn.Module):
    """It has a buffer, a tied weight, a norm and a subclass of a layer that has a drop-in."""

    class Doubled(torch.nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(6, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.doubled = self.Doubled(8, 8)
        self.last = torch.nn.Linear(8, 6, bias=False)
        self.again = torch.nn.Linear(8, 6, bias=False)
        self.again.weight = self.last.weight

    def forward(self, x):
        x = self.doubled(torch.relu(self.norm(self.first(x))))
        return self.last(x) + self.again(x)
