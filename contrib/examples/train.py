"""Second step, one run for each learning rate: train the network and save it.

    python3 train.py --out DIR     reads DIR/prepared.json, writes DIR/model-TASK.json

TASK is $GFLOW_ARRAY_TASK_ID, and picks the learning rate. When Ctrl-C reaches it (a time limit, `gcancel`, or a person)
it saves what it has as DIR/checkpoint-TASK.json and then ends the way any program does that Ctrl-C interrupts.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import types

from network import Network, Point

RATES = {0: 0.02, 1: 0.0003, 2: 0.003, 3: 0.03, 4: 3.0}

interrupted = False


def on_interrupt(_signal: int, _frame: types.FrameType | None) -> None:
    """Remember it; the epoch under way is completed first."""
    global interrupted  # noqa: PLW0603 - a signal handler has nowhere else to put it
    interrupted = True


def train(network: Network, points: list[Point], rate: float, epochs: int) -> int:
    """Train until done or interrupted; return the number of epochs done."""
    generator = random.Random(0)
    for epoch in range(1, epochs + 1):
        generator.shuffle(points)
        for point in points:
            network.learn(point, rate)
        if epoch % 25 == 0:
            print(f"epoch {epoch}: loss {network.loss(points):.4f}", flush=True)
        if interrupted:
            return epoch
    return epochs


def save(path: pathlib.Path, **content: object) -> None:
    """Write the file whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.replace(path)


def main() -> None:
    """Train, then save a model, or a checkpoint if interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--epochs", type=int, default=150)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, on_interrupt)
    task = int(os.environ.get("GFLOW_ARRAY_TASK_ID") or 0)
    rate = RATES[task]
    sets = json.loads((arguments.out / "prepared.json").read_text())
    print(f"task {task}: learning rate {rate}", flush=True)
    network = Network()
    epochs = train(network, sets["train"], rate, arguments.epochs)
    kind = "checkpoint" if interrupted else "model"
    accuracy = network.accuracy(sets["validation"])
    save(
        arguments.out / f"{kind}-{task}.json",
        task=task,
        rate=rate,
        epochs=epochs,
        accuracy=accuracy,
        weights=network.weights,
    )
    print(f"saved {kind}-{task}.json after epoch {epochs}, accuracy {accuracy:.3f}", flush=True)
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
