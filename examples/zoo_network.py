"""A network of the zoo on the simulated hardware: nothing to train. Most of its minute compiles the simulation.

    python examples/zoo_network.py
"""

import tempfile
from pathlib import Path

import torch

import qblif
from qblif.gen import zoo
from qblif.sim import golden
from qblif.sim.deploy import deploy
from qblif.sim.named import find

IMAGES = 40


def main():
    card, network = zoo.card("digits"), zoo.load("digits")      # its file is checked against its card
    print(f"{card.title}: golden model {card.golden_accuracy:.1%} of {card.test_images} test images, by its card")

    x, y = find("digits").test_set().test.batch(torch.arange(IMAGES))
    images = x.numpy()
    with tempfile.TemporaryDirectory() as folder:
        deploy(network, Path(folder) / "digits.qblif", images[:4])
        with qblif.open(Path(folder) / "digits.qblif", target="sim") as accelerator:
            logits = accelerator.run_batch(images, progress=True)
            print(accelerator.stats())

    assert (logits == golden.run(network, images).logits).all()
    right = (logits.argmax(1) == y.numpy()).mean()
    print(f"hardware = golden model in all {logits.size} logits; {right:.1%} of {IMAGES} images right")


if __name__ == "__main__":
    main()
