"""More training texts of the minority: the same ones as an attacker or a clumsy thumb would write them.

Copies belong to the training split only, and follow it in every count: a calibration that saw them would be of another
world.
"""

import random
from collections.abc import Sequence

from consumer.classifier.normalise import normalise
from training.attacks import ATTACKS, attack
from training.data import Example


def augment(
    examples: Sequence[Example], names: Sequence[str], *, copies: int, ham_share: float = 0.0, seed: int
) -> list[Example]:
    """Return the altered copies alone: `copies` of each spam, each by one attack drawn from `names` (of ATTACKS).

    `ham_share` of the ham gets one copy too, lest obfuscation itself be learnt as spam. Copies that normalisation makes
    equal to their original are left out. Raises ValueError for an attack that does not exist.
    """
    if unknown := set(names) - set(ATTACKS):
        raise ValueError(f"unknown attacks: {', '.join(sorted(unknown))}")
    generator = random.Random(seed)
    made: list[Example] = []
    for example in examples:
        times = copies if example.label == "spam" else int(generator.random() < ham_share)
        for _ in range(times):
            altered = attack(example.original, generator.choice(names), generator)
            text = normalise(altered).text
            if text != example.text:
                made.append(Example(text=text, original=altered, label=example.label, source=example.source))
    return made
