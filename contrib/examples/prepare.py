"""First step: split the points into train, validation and test sets and scale them by what the train set shows.

python3 prepare.py --data data/points.csv --out DIR     writes DIR/prepared.json
"""

import argparse
import csv
import json
import pathlib
import random
import statistics

Row = tuple[float, float, int]


def read(path: pathlib.Path) -> list[Row]:
    """The rows of the table."""
    with path.open(newline="") as file:
        return [(float(row["x"]), float(row["y"]), int(row["label"])) for row in csv.DictReader(file)]


def split(rows: list[Row], seed: int) -> dict[str, list[Row]]:
    """60 % to train on, 20 % to choose by, 20 % to judge with."""
    rows = rows[:]
    random.Random(seed).shuffle(rows)
    first, second = len(rows) * 6 // 10, len(rows) * 8 // 10
    return {"train": rows[:first], "validation": rows[first:second], "test": rows[second:]}


def standardise(sets: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Mean 0 and deviation 1 in the train set; the others are moved and scaled alike."""
    centre = [statistics.fmean(row[axis] for row in sets["train"]) for axis in (0, 1)]
    spread = [statistics.stdev(row[axis] for row in sets["train"]) for axis in (0, 1)]

    def scale(row: Row) -> Row:
        return (row[0] - centre[0]) / spread[0], (row[1] - centre[1]) / spread[1], row[2]

    return {name: [scale(row) for row in rows] for name, rows in sets.items()}


def main() -> None:
    """Read, split, scale, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sets = standardise(split(read(arguments.data), arguments.seed))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "prepared.json").write_text(json.dumps(sets))
    print(", ".join(f"{name}: {len(rows)} points" for name, rows in sets.items()))


if __name__ == "__main__":
    main()
