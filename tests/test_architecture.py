"""How far it is from `api.train` to a step; the layers are import-linter's (make check)."""

from pathlib import Path

import mlrun as api

SPY = """
import inspect
from torch.optim import SGD

found = []

class Spy(SGD):
    def step(self, closure=None):
        if not found:
            found.extend((frame.filename, frame.function) for frame in inspect.stack())
        return super().step(closure)
"""
MOST = 4


def test_at_most_four_of_our_functions_stand_between_train_and_a_step(mlrun, write_csv):
    write_csv("spies.py", SPY)
    write_csv(
        "conf/optimizer/spy.yaml", "# a spy\n_target_: spies.Spy\n_partial_: true\nlr: 0.01\n"
    )
    words = ("task=covid", "optimizer=spy", "trainer.epochs=1", "trainer.limit_batches=1")
    api.train(*words, "quiet=true", allow=["spies.Spy"])
    from spies import found  # type: ignore[import-not-found]

    package = str(Path(api.__file__).parent)
    ours = [name for file, name in found if file.startswith(package)]
    between = ours[: ours.index("train")]
    assert 1 <= len(between) <= MOST, between
