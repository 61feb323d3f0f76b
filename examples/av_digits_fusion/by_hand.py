"""Concatenation written by hand in plain PyTorch: what a fusion from the library is held against.

    python examples/av_digits_fusion/by_hand.py

Fully connected layers on the four components, on the flattened spectrogram, and on both side by side; five epochs of
Adam on the rows of data/pairs.parquet, three seeds. Prints the accuracy on the test rows of each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.nn import functional as F

TABLE = Path(__file__).resolve().parent / "data/pairs.parquet"
SEEDS, EPOCHS, BATCH, LEARNING_RATE = (0, 1, 2), 5, 64, 1e-3
FRAMES, BANDS, COMPONENTS = 40, 16, 4


class ByHand(nn.Module):
    """A branch a column, side by side, then a hidden layer and the scores of the ten digits."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        super().__init__()
        inputs = {"image": (COMPONENTS, 64), "sound": (FRAMES * BANDS, 128)}
        self.branches = nn.ModuleDict(
            {
                column: nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, 64), nn.ReLU())
                for column, (size, width) in inputs.items()
                if column in columns
            }
        )
        self.head = nn.Sequential(nn.Linear(64 * len(columns), 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, rows: dict[str, Tensor]) -> Tensor:
        """Image (B, 4) and sound (B, 640) to scores (B, 10)."""
        scores: Tensor = self.head(torch.cat([branch(rows[column]) for column, branch in self.branches.items()], dim=1))
        return scores


def read(split: str) -> tuple[dict[str, Tensor], Tensor]:
    """The columns and the digits of a split; a spectrogram is cut or padded to 40 frames."""
    table = pq.read_table(TABLE, filters=[("split", "=", split)])
    sounds = np.zeros((len(table), FRAMES, BANDS), dtype=np.float32)
    for place, frames in zip(sounds, table["sound"].to_pylist(), strict=True):
        place[: len(frames)] = np.asarray(frames[:FRAMES], dtype=np.float32)
    columns = {"image": torch.tensor(table["image"].to_pylist()), "sound": torch.from_numpy(sounds).flatten(1)}
    return columns, torch.tensor(table["digit"].to_pylist())


def accuracy(columns: tuple[str, ...], seed: int, data: dict[str, tuple[dict[str, Tensor], Tensor]]) -> float:
    """Of a model of these columns on the test rows, after its training."""
    torch.manual_seed(seed)
    model = ByHand(columns)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    rows, digits = data["train"]
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(digits)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model({name: values[batch] for name, values in rows.items()}), digits[batch]).backward()
            optimizer.step()
    rows, digits = data["test"]
    with torch.no_grad():
        return (model(rows).argmax(1) == digits).float().mean().item()


def main() -> int:
    """Print a line for each choice of columns."""
    if not TABLE.exists():
        print(f"Error: {TABLE} is not there. Run prepare.py first", file=sys.stderr)
        return 2
    data = {split: read(split) for split in ("train", "test")}
    spread = data["train"][0]["image"].std(0)
    for rows, _ in data.values():
        rows["image"] = rows["image"] / spread
    for columns in (("image",), ("sound",), ("image", "sound")):
        scores = 100 * np.array([accuracy(columns, seed, data) for seed in SEEDS])
        count = sum(parameter.numel() for parameter in ByHand(columns).parameters())
        print(f"{' + '.join(columns):14} {scores.mean():.1f} ± {scores.std(ddof=1):.1f} %   {count:,} parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
