"""Make points.csv: 600 points in two interleaved half moons, with noise. Synthetic; the same file on every run.

python3 make_points.py > points.csv
"""

import csv
import math
import random
import sys

POINTS = 600
NOISE = 0.16
SEED = 20240229


def points() -> list[tuple[float, float, int]]:
    """(x, y, label) in random order. Label 0 is the upper moon, label 1 the lower one."""
    generator = random.Random(SEED)
    made = []
    for number in range(POINTS):
        label, angle = number % 2, math.pi * generator.random()
        x, y = (math.cos(angle), math.sin(angle)) if label == 0 else (1 - math.cos(angle), 0.5 - math.sin(angle))
        made.append((x + generator.gauss(0, NOISE), y + generator.gauss(0, NOISE), label))
    generator.shuffle(made)
    return made


def main() -> None:
    """Write the table to stdout."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["x", "y", "label"])
    table.writerows((f"{x:.4f}", f"{y:.4f}", label) for x, y, label in points())


if __name__ == "__main__":
    main()
