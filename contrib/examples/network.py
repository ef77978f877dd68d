"""A neural network with one hidden layer, for points in the plane, in plain Python."""

import math
import random

HIDDEN = 12

Point = tuple[float, float, int]


class Network:
    """2 inputs, `HIDDEN` tanh units, 1 logistic output. `weights` is one flat list, so that it saves as JSON."""

    def __init__(self, weights: list[float] | None = None, seed: int = 0) -> None:
        generator = random.Random(seed)
        self.weights = weights or [generator.gauss(0, 0.7) for _ in range(4 * HIDDEN + 1)]

    def forward(self, x: float, y: float) -> tuple[list[float], float]:
        """The hidden units' values, and the probability of label 1."""
        w = self.weights
        hidden = [math.tanh(w[4 * unit] * x + w[4 * unit + 1] * y + w[4 * unit + 2]) for unit in range(HIDDEN)]
        total = w[-1] + sum(w[4 * unit + 3] * value for unit, value in enumerate(hidden))
        return hidden, 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))

    def learn(self, point: Point, rate: float) -> None:
        """One step of gradient descent on the cross-entropy of one point."""
        x, y, label = point
        hidden, probability = self.forward(x, y)
        w, error = self.weights, probability - label
        for unit, value in enumerate(hidden):
            inner = error * w[4 * unit + 3] * (1 - value * value)
            w[4 * unit] -= rate * inner * x
            w[4 * unit + 1] -= rate * inner * y
            w[4 * unit + 2] -= rate * inner
            w[4 * unit + 3] -= rate * error * value
        w[-1] -= rate * error

    def accuracy(self, points: list[Point]) -> float:
        """The share of points whose label it gets right."""
        return sum((self.forward(x, y)[1] > 0.5) == bool(label) for x, y, label in points) / len(points)

    def loss(self, points: list[Point]) -> float:
        """Mean cross-entropy in nats."""
        total = 0.0
        for x, y, label in points:
            probability = self.forward(x, y)[1]
            total -= math.log(max(1e-12, probability if label else 1 - probability))
        return total / len(points)
