"""What a run says while it trains: a bar on a terminal, a line per epoch, log.jsonl, and TensorBoard's files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from qblif.host.errors import install

from . import checkpoint


class Log:
    """The log of a run in `folder`: one JSON object per epoch in log.jsonl, the same in TensorBoard where it is there.

    history: of the epochs before, after a resumption; quiet: write nothing at all (all processes but the first)
    told: called with each epoch, in place of what is printed and of TensorBoard's files"""

    def __init__(self, folder: Path, history: list[dict], quiet: bool = False,
                 told: Callable[[dict], None] | None = None):
        self.folder, self.history, self.quiet, self.told = folder, history, quiet, told
        self.board, self.prints = None, not (quiet or told)

    def begin(self) -> None:
        """Open TensorBoard's files: what is refused before the first epoch leaves none."""
        if not self.prints:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.say(f"TensorBoard's files are not written: {install('tensorboard')}; log.jsonl has the same")
        else:
            self.board = SummaryWriter(self.folder / "tensorboard", purge_step=len(self.history), flush_secs=60)
            # purge_step hides what lay behind the checkpoint of an interrupted run

    def say(self, text: str) -> None:
        """Print a line."""
        if self.prints:
            print(text, flush=True)

    def bar(self, title: str, count: int):
        """Return a function for Phase.epoch's progress, and one that ends the bar; a log gets no bar."""
        if not self.prints or not sys.stderr.isatty():
            return None, lambda: None
        from tqdm import tqdm

        bar = tqdm(total=count, desc=title, unit="sample", dynamic_ncols=True, leave=False)

        def progress(done, _, loss):
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update(done - bar.n)

        return progress, bar.close

    def epoch(self, entry: dict) -> None:
        """Append an epoch: phase, epoch, of, loss, rate, seconds, gammas and levels (layer -> γ, N), test where it was
        measured."""
        self.history.append(entry)
        if self.quiet:
            return
        checkpoint.replace(self.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in self.history))
        if self.told:
            self.told(entry)
        test = f", test {100 * entry['test']:.2f} %" if entry.get("test") is not None else ""
        cost = f", {entry['count'] / 1e6:.3f} M {entry['counted']}" if entry.get("count") else ""
        self.say(f"{entry['phase']:>9} {entry['epoch']}/{entry['of']}: loss {entry['loss']:.4f}, training "
                 f"{100 * entry['train']:.2f} %{test}{cost}, {entry['seconds']:.0f} s")
        if self.board is not None:
            step = len(self.history)
            for name in ("loss", "rate", "train", "test", "count"):
                if entry.get(name) is not None:
                    self.board.add_scalar(name, entry[name], step)
            for name, values in (("gamma", entry["gammas"]), ("levels", entry["levels"])):
                for layer, value in values.items():
                    self.board.add_scalar(f"{name}/{layer}", value, step)

    def close(self) -> None:
        """Write what is left."""
        if self.board is not None:
            self.board.close()
