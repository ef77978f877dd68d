"""Third step: compare the models of the sweep, keep the best, and judge it by points none of them has seen.

    python3 evaluate.py --out DIR [--at-least ACCURACY]     reads DIR/model-*.json, writes DIR/best.json

Exits 3 if the best one's accuracy is below `--at-least`.
"""

import argparse
import json
import pathlib
import sys

from network import Network


def main() -> int:
    """Print the table, save the best model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    models = [json.loads(path.read_text()) for path in sorted(arguments.out.glob("model-*.json"))]
    if not models:
        sys.exit(f"no models in {arguments.out}")
    best = max(models, key=lambda model: model["accuracy"])
    print("task  learning rate  validation accuracy")
    for model in models:
        mark = " *" if model is best else ""
        print(f"{model['task']:>4}  {model['rate']:>13g}  {model['accuracy']:>19.3f}{mark}")
    test = json.loads((arguments.out / "prepared.json").read_text())["test"]
    accuracy = Network(best["weights"]).accuracy(test)
    (arguments.out / "best.json").write_text(json.dumps(best))
    print(f"test accuracy of task {best['task']}: {accuracy:.3f}")
    if accuracy < arguments.at_least:
        print(f"below the required {arguments.at_least:.3f}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
