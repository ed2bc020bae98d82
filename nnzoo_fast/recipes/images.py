"""Classify 28x28 images of digits: MLP, LeNet and ResNet."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

from nnzoo_fast import models
from nnzoo_fast.data import Images
from nnzoo_fast.recipes.recipe import Batch, Recipe


def mlp(data: Images) -> Recipe:
    model = functools.partial(models.MLP, (784, 512, 512, data.classes))
    return _recipe("MLP", data, model, batch_size=128, learning_rate=0.1, steps=300)


def lenet(data: Images) -> Recipe:
    model = functools.partial(models.LeNet, data.classes)
    return _recipe("LeNet", data, model, batch_size=64, learning_rate=0.05, steps=300)


def resnet(data: Images) -> Recipe:
    model = functools.partial(models.ResNet, data.classes, in_channels=1)
    return _recipe("ResNet", data, model, batch_size=16, learning_rate=0.01, steps=200, precise=True)


def accuracy(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, batch_size: int = 250) -> float:
    """Part of the images whose largest logit is the label's."""
    model.eval()
    with torch.no_grad():
        right = [
            (model(part).argmax(1) == truth).sum()
            for part, truth in zip(images.split(batch_size), labels.split(batch_size), strict=True)
        ]
    model.train()
    return float(sum(right)) / len(labels)


def _recipe(
    name: str, data: Images, model, batch_size: int, learning_rate: float, steps: int, precise: bool = False
) -> Recipe:
    def batch(generator: torch.Generator) -> Batch:
        chosen = torch.randint(len(data.train), (batch_size,), generator=generator)
        return data.train[chosen], data.train_labels[chosen]

    def loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        images, labels = batch
        return F.cross_entropy(model(images), labels)

    return Recipe(
        name=name,
        source=data.source,
        model=model,
        optimizer=functools.partial(torch.optim.SGD, lr=learning_rate, momentum=0.9),
        batch=batch,
        loss=loss,
        evaluate=lambda model: accuracy(model, data.test, data.test_labels),
        metric="accuracy",
        resolution=1 / len(data.test),
        baseline=float(data.test_labels.bincount().max()) / len(data.test),
        baseline_name="most frequent class",
        steps=steps,
        precise=precise,
    )
