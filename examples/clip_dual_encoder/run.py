"""A CLIP of transformers teaches a small dual encoder to find the picture that a name belongs to, with no recipe.

Both are built from scratch: CLIP from its configuration, the student of a few plain layers. The pictures are emojis.
CLIP reads captions, which are names with their keywords; the student reads the names alone, as a person would type
them. CLIP is trained first, by the contrastive loss alone; then, for every seed, `mmdistill.distill` trains the student
with TinyCLIP's affinity beside its own contrastive loss, and the control without. Validation picks the epoch; the test
pairs are scored once. Writes runs/clip_dual_encoder/results.json.
"""

from __future__ import annotations

import csv
import inspect
import json
import os
import re
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import mmdistill
from mmdistill.errors import MMDistillError, require

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from example_data import find_source  # noqa: E402

NEEDS = ("emoji/captions.csv", "emoji/images.zip")
SIZE, LENGTH, WORDS, BATCH = 36, 24, 1500, 128
PAD, UNKNOWN, END = 0, 1, 3
SEEDS = (0, 1, 2)
TEACHER_EPOCHS, STUDENT_EPOCHS = 25, 16


class DualEncoder(nn.Module):
    """Three convolutions for pictures, a mean of word vectors for names, one space for both."""

    def __init__(self, width: int = 16, dim: int = 64) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width]
        self.image = nn.Sequential(
            *(
                layer
                for inputs, outputs in pairwise(widths)
                for layer in (nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(4, outputs), nn.ReLU())
            ),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * width, dim),
        )
        self.words = nn.Embedding(WORDS, dim, padding_idx=PAD)
        self.text = nn.Linear(dim, dim)
        self.log_scale = nn.Parameter(torch.tensor(2.66))

    def forward(self, pixel_values: Tensor, name_ids: Tensor) -> dict[str, Tensor]:
        """Embeddings of unit length, and their similarities: row = picture, column = name."""
        known = (name_ids != PAD)[..., None].to(self.words.weight.dtype)
        image = F.normalize(self.image(pixel_values), dim=1)
        text = F.normalize(self.text((self.words(name_ids) * known).sum(1) / known.sum(1).clamp(min=1)), dim=1)
        return {"logits": self.log_scale.exp() * image @ text.T, "image": image, "text": text}


def clip() -> nn.Module:
    """A CLIP of two small transformers, from its configuration."""
    transformers = require("transformers", "backbones", "CLIP")
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4}
    tokens = {"eos_token_id": END, "bos_token_id": 2, "pad_token_id": PAD}
    text = {"vocab_size": WORDS, "max_position_embeddings": LENGTH, **tokens}
    config = transformers.CLIPConfig(
        text_config={**shape, **text},
        vision_config={**shape, "image_size": SIZE, "patch_size": 6},
        projection_dim=64,
    )
    model: nn.Module = transformers.CLIPModel(config)
    return model


def contrastive(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy from pictures to texts and back; row i belongs to column i."""
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def recall(logits: Tensor, target: Tensor, k: int = 1) -> float:
    """Share of the pictures whose text is among the k most similar ones."""
    return float((logits.topk(k, dim=1).indices == target[:, None]).any(1).float().mean())


class Pairs:
    """Pictures, captions and names of one split, in batches in which every row belongs to itself."""

    def __init__(self, pixels: Tensor, ids: Tensor, names: Tensor, batch: int, shuffle: bool) -> None:
        self.pixels, self.ids, self.names, self.batch, self.shuffle = pixels, ids, names, batch, shuffle

    def __len__(self) -> int:
        return len(self.ids) // self.batch if self.shuffle else 1

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        order = torch.randperm(len(self.ids)) if self.shuffle else torch.arange(len(self.ids))
        for number in range(len(self)):
            rows = order[number * self.batch : (number + 1) * self.batch]
            captions, names = self.ids[rows], self.names[rows]
            inputs = {"pixel_values": self.pixels[rows], "input_ids": captions, "name_ids": names}
            yield inputs | {"attention_mask": (captions != PAD).long()}, torch.arange(len(rows))


def read_pairs(source: Path) -> dict[str, Pairs]:
    """The three splits; the vocabulary is that of the training captions."""
    with (source / NEEDS[0]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    words = Counter(word for row in rows if row["split"] == "train" for word in split_words(row["text"]))
    places = {word: 4 + place for place, (word, _) in enumerate(words.most_common(WORDS - 4))}
    found = {}
    with zipfile.ZipFile(source / NEEDS[1]) as archive:
        for split in ("train", "val", "test"):
            own = [row for row in rows if row["split"] == split]
            pixels = torch.from_numpy(np.stack([picture(archive.read(f"images/{row['file']}")) for row in own]))
            ids, names = (torch.tensor([token_ids(row[kind], places) for row in own]) for kind in ("text", "name"))
            batch = BATCH if split == "train" else len(own)
            found[split] = Pairs(pixels.permute(0, 3, 1, 2) / 127.5 - 1, ids, names, batch, split == "train")
    return found


def split_words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def token_ids(text: str, places: dict[str, int]) -> list[int]:
    """Ids of the words, an end, and padding up to `LENGTH`."""
    words = [places.get(word, UNKNOWN) for word in split_words(text)[: LENGTH - 1]]
    return [*words, END, *[PAD] * (LENGTH - 1 - len(words))]


def picture(content: bytes) -> np.ndarray:
    """Pixels (SIZE, SIZE, 3) from 0 to 255, on white."""
    image = Image.open(BytesIO(content)).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB").resize((SIZE, SIZE)), dtype=np.float32)


def train_teacher(model: nn.Module, pairs: dict[str, Pairs]) -> float:
    """Train CLIP by the contrastive loss; gives the seconds that it took."""
    torch.manual_seed(0)
    began = time.perf_counter()
    steps = TEACHER_EPOCHS * len(pairs["train"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    model.train()
    for _ in range(TEACHER_EPOCHS):
        for inputs, target in pairs["train"]:
            optimizer.zero_grad()
            inputs.pop("name_ids")
            contrastive(model(**inputs).logits_per_image, target).backward()
            optimizer.step()
            schedule.step()
    return time.perf_counter() - began


@torch.no_grad()
def measured(model: nn.Module, pairs: Pairs, logits: str) -> dict[str, float]:
    """Recall in both directions; `logits` names the similarities in what the model gives."""
    model.eval()
    inputs, target = next(iter(pairs))
    taken = inspect.signature(model.forward).parameters
    scores = model(**{name: values for name, values in inputs.items() if name in taken})[logits]
    return {
        f"{name}_recall_at_{k}": recall(values, target, k)
        for name, values in (("text", scores), ("picture", scores.T))
        for k in (1, 5)
    }


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> int:
    """Train, compare, write results.json and print it as a table."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        pairs = read_pairs(find_source(NEEDS))
        torch.manual_seed(0)
        teacher = clip()
    except MMDistillError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    seconds = train_teacher(teacher, pairs)
    runs: dict[str, list[dict[str, Any]]] = {"student": [], "baseline": []}
    said = {"seed": 0, "train_seconds": seconds, "metrics": measured(teacher, pairs["test"], "logits_per_image")}
    print(f"CLIP was trained in {seconds:.0f} s", flush=True)
    # Both sides' similarities are sharpened as much as CLIP has learnt to sharpen its own.
    scale = float(teacher.logit_scale.detach().exp())
    affinity = {"name": "tinyclip_affinity", "student_scale": scale, "teacher_scale": scale}
    for seed in SEEDS:
        torch.manual_seed(seed)
        result = mmdistill.distill(
            DualEncoder(),
            teacher,
            pairs["train"],
            [affinity],
            supervised=contrastive,
            teacher_taps={"logits": "[logits_per_image]", "image": "[image_embeds]", "text": "[text_embeds]"},
            student_taps={"image": "[image]", "text": "[text]"},
            validation=pairs["val"],
            test=pairs["test"],
            metric=recall,
            seed=seed,
            device="cpu",
            epochs=STUDENT_EPOCHS,
            learning_rate=0.002,
            schedule={"name": "cosine", "warmup": 0.1},
        )
        for name, model in (("student", result.student), ("baseline", result.baseline)):
            metrics = measured(model, pairs["test"], "logits")
            runs[name].append({"seed": seed, "train_seconds": result.seconds, "metrics": metrics})
        print(f"seed {seed}: {result}", flush=True)
    results = summed_up({"teacher": [said], **runs}, parameters(teacher), parameters(DualEncoder()))
    folder = Path("runs/clip_dual_encoder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(table(results))
    return 0


def summed_up(runs: dict[str, list[dict[str, Any]]], teacher: int, student: int) -> dict[str, Any]:
    """What stands in results.json."""
    models = {
        name: {"role": name, "parameters": teacher if name == "teacher" else student, "runs": each}
        for name, each in runs.items()
    }
    gains = [
        taught["metrics"]["text_recall_at_1"] - alone["metrics"]["text_recall_at_1"]
        for taught, alone in zip(runs["student"], runs["baseline"], strict=True)
    ]
    return {
        "format": 1,
        "name": "clip_dual_encoder",
        "task": "retrieval",
        "primary_metric": "text_recall_at_1",
        "higher_is_better": True,
        "models": models,
        "gain": {"student": "student", "baseline": "baseline", "metric": "text_recall_at_1",
                 "mean": float(np.mean(gains)), "per_seed": gains, "seeds": len(gains)},
    }  # fmt: skip


def table(results: dict[str, Any]) -> str:
    """Means over the seeds, a line a model."""
    names = list(results["models"]["teacher"]["runs"][0]["metrics"])
    lines = [f"{'model':10} {'parameters':>10} " + " ".join(f"{name:>20}" for name in names)]
    for name, model in results["models"].items():
        means = [np.mean([run["metrics"][metric] for run in model["runs"]]) for metric in names]
        lines.append(f"{name:10} {model['parameters']:>10,} " + " ".join(f"{mean:>20.3f}" for mean in means))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
