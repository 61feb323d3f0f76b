"""Make the embedded sample `digits`: handwritten digits, each with its spoken word and a short typed note.

    python tools/make_digits.py            writes src/mmdistill/data/samples/digits.parquet
    python tools/make_digits.py --check    makes it again and compares it with the file that is there

Needs scikit-learn (the images) and the program espeak-ng (Debian's package of that name; the voices). The same
versions of those, of NumPy, soxr, libsndfile, Pillow and pyarrow give the same bytes every time: whatever is random is
drawn from a NumPy generator seeded with the row's number. Nothing of this is needed to use the sample.

What the table holds, where it comes from and under which licences: docs/samples/digits.md.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import soxr
from numpy.typing import NDArray
from PIL import Image

TARGET = Path(__file__).resolve().parent.parent / "src/mmdistill/data/samples/digits.parquet"
SEED = 20260
SAMPLE_RATE = 8_000  # Hz
SIGNAL_TO_NOISE = (8.0, 26.0)  # decibels, from the poorest line to the best

# Rows: the rest of the 1,797 are unlabelled training rows.
LABELLED, VALIDATION, TEST = 300, 130, 320

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# A voice is an accent and a variant of eSpeak NG. No variant stands in two splits, so that no speaker does.
ACCENTS = ("en-gb", "en-us", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
VARIANTS = {
    "train": ("Alicia", "Andy", "Gene", "Henrique", "Jacky", "Mario", "Michael", "adam", "anika", "antonio", "belinda",
              "boris", "croak", "david", "f1", "f2", "f4", "gustave", "iven2", "john", "klatt2", "linda", "m1", "m3",
              "m4", "m7", "michel", "paul", "rob", "steph"),
    "validation": ("Annie", "Lee", "benjamin", "f3", "klatt3", "m2", "max", "pablo"),
    "test": ("Diogo", "Hugo", "Marco", "Tweaky", "aunty", "caleb", "edward", "f5", "grandpa", "klatt4", "m5", "m6",
             "miguel", "pedro", "steph2", "travis"),
}  # fmt: skip

# What a person may type for a digit, and what merely narrows it down.
NAMES = (
    ("zero", "0", "nought", "nil", "null", "oh", "none at all"),
    ("one", "1", "single", "uno", "a one", "just the one"),
    ("two", "2", "pair", "double", "a couple", "duo"),
    ("three", "3", "trio", "triple", "triplet", "a hat trick"),
    ("four", "4", "quartet", "four of them", "square of two", "quad"),
    ("five", "5", "quintet", "a hand", "half of ten", "high five"),
    ("six", "6", "half a dozen", "sextet", "hexa", "sixth"),
    ("seven", "7", "lucky seven", "days of a week", "septet", "seventh"),
    ("eight", "8", "octet", "snowman", "octo", "eighth"),
    ("nine", "9", "nonet", "cat's lives", "ninth", "one short of ten"),
)
FRAMES = (
    "{}",
    "{}",
    "{}",
    "looks like {}",
    "i think {}",
    "{}?",
    "number {}",
    "it says {}",
    "{}, surely",
    "note: {}",
    "{} again",
)
EVEN, ODD = ("even", "an even one", "even number"), ("odd", "an odd one", "odd number")
LOW, HIGH = ("small", "less than five", "a low one"), ("large", "five or more", "a high one")
CHATTER = ("hard to read", "ink smudged", "see form", "noisy line", "ask again", "n/a", "same pen as before", "page 2")


def main() -> int:
    """Write the sample, or compare it with the one that is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=TARGET, help="the Parquet file to write")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file there is another")
    arguments = parser.parse_args()
    content = encode(make_table())
    digest = hashlib.sha256(content).hexdigest()
    if arguments.check:
        same = arguments.output.exists() and arguments.output.read_bytes() == content
        print(f"{arguments.output.name}: {'the same' if same else 'another'} (made now: sha256 {digest})")
        return 0 if same else 1
    aside = arguments.output.with_suffix(".partial")
    aside.write_bytes(content)
    aside.replace(arguments.output)
    print(f"{arguments.output.name}: {len(content):,} bytes, sha256 {digest}")
    return 0


def make_table() -> pa.Table:
    """The whole sample, one row per handwritten digit, in the order in which scikit-learn holds them."""
    from sklearn.datasets import load_digits

    images, digits = (np.asarray(part) for part in load_digits(return_X_y=True))
    split, labelled = assign_splits(digits)
    speak = speaker()
    columns: dict[str, list[object]] = {name: [] for name in ("image", "sound", "note", "digit", "voice", "split")}
    for row, digit in enumerate(digits.tolist()):
        generator = np.random.default_rng([SEED, row])
        voice = f"{generator.choice(ACCENTS)}+{generator.choice(VARIANTS[split[row]])}"
        sound = record(speak(WORDS[digit], voice, generator), generator)
        columns["image"].append({"bytes": encode_image(images[row].reshape(8, 8)), "path": f"{row:04d}.png"})
        columns["sound"].append({"bytes": encode_sound(sound), "path": f"{row:04d}.flac"})
        columns["note"].append(write_note(digit, generator))
        columns["digit"].append(digit if labelled[row] else None)
        columns["voice"].append(voice)
        columns["split"].append(split[row])
    return pa.table(columns, schema=schema())


def schema() -> pa.Schema:
    """Column types, with the annotation by which Hugging Face datasets knows image and audio columns."""
    media = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {
        "image": {"_type": "Image"},
        "sound": {"_type": "Audio", "sampling_rate": SAMPLE_RATE},
        "note": {"dtype": "string", "_type": "Value"},
        "digit": {"dtype": "int64", "_type": "Value"},
        "voice": {"dtype": "string", "_type": "Value"},
        "split": {"dtype": "string", "_type": "Value"},
    }
    types = {"image": media, "sound": media, "digit": pa.int64()}
    fields = [pa.field(name, types.get(name, pa.string())) for name in features]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def encode(table: pa.Table) -> bytes:
    """The bytes of the Parquet file. Images and sounds are compressed already, so that only the text gains by more."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=300)
    return sink.getvalue()


def assign_splits(digits: NDArray[np.int64]) -> tuple[list[str], NDArray[np.bool_]]:
    """The split of every row, and which rows keep their label. Each digit is spread evenly over all of them."""
    generator = np.random.default_rng(SEED)
    shuffled = generator.permutation(len(digits))
    by_digit = shuffled[np.argsort(digits[shuffled], kind="stable")]
    # Every tenth row or so of a list sorted by digit: ranks that run through the digits evenly.
    place = np.empty(len(digits), dtype=np.int64)
    place[by_digit] = (np.arange(len(digits)) * 743) % len(digits)  # 743 and 1,797 have no common divisor
    edges = np.cumsum([LABELLED, VALIDATION, TEST])
    part = np.searchsorted(edges, place, side="right")
    names = ("train", "validation", "test", "train")
    return [names[index] for index in part], part != 3


def speaker() -> Callable[[str, str, np.random.Generator], NDArray[np.float64]]:
    """A function that has eSpeak NG say a word in a voice, at a rate and pitch drawn from the generator."""
    program = shutil.which("espeak-ng")
    if program is None:
        sys.exit("The program espeak-ng is not installed. On Debian and Ubuntu: apt-get install espeak-ng")

    def speak(word: str, voice: str, generator: np.random.Generator) -> NDArray[np.float64]:
        rate, pitch = generator.integers(150, 280), generator.integers(15, 85)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "word.wav"
            command = [program, "-v", voice, "-s", str(rate), "-p", str(pitch), "-w", str(file), word]
            subprocess.run(command, check=True)
            samples, source_rate = soundfile.read(file, dtype="float64")
        samples = soxr.resample(samples, source_rate, SAMPLE_RATE)
        loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
        return samples[loud[0] : loud[-1] + 1] / np.sqrt(np.mean(samples[loud[0] : loud[-1] + 1] ** 2))

    return speak


def record(speech: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int16]:
    """Speech of unit power as a poor line would carry it: late, in coloured noise, cut short, soft or loud.

    Returns 16-bit samples whose lower eight bits are zero: eight bits are enough beside the noise, and halve the file.
    """
    lead, tail = generator.integers(0, 1_200, size=2)
    clean = np.concatenate([np.zeros(lead), speech, np.zeros(tail)])
    signal_to_noise = generator.uniform(*SIGNAL_TO_NOISE)
    noise = coloured_noise(len(clean), generator.uniform(0.0, 1.6), generator) * 10 ** (-signal_to_noise / 20)
    mixed = clean + noise
    gain = generator.uniform(0.25, 0.9) / np.abs(mixed).max()
    return np.clip(np.round(mixed * gain * 127), -128, 127).astype(np.int16) * 256


def coloured_noise(length: int, slope: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Noise of unit power whose power falls with frequency to the `slope` (0 is white, 1 is pink)."""
    spectrum = np.fft.rfft(generator.standard_normal(length))
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 50.0)
    noise = np.fft.irfft(spectrum * frequency ** (-slope / 2), n=length)
    return noise / np.sqrt(np.mean(noise**2))


def write_note(digit: int, generator: np.random.Generator) -> str:
    """A note about a digit: its name, a hint, two candidates, the wrong name, chatter, or nothing."""
    kind = generator.choice(
        ["nothing", "name", "hint", "either", "wrong", "chatter"], p=[0.22, 0.34, 0.16, 0.10, 0.10, 0.08]
    )
    other = (digit + int(generator.integers(1, 10))) % 10
    if kind == "nothing":
        return ""
    if kind == "chatter":
        return misspell(str(generator.choice(CHATTER)), generator)
    if kind == "hint":
        hints = (*(ODD if digit % 2 else EVEN), *(HIGH if digit >= 5 else LOW))
        text = str(generator.choice(hints))
    elif kind == "either":
        first, second = generator.permutation([digit, other])
        text = f"{generator.choice(NAMES[first])} or {generator.choice(NAMES[second])}"
    else:
        text = str(generator.choice(NAMES[digit if kind == "name" else other]))
    return misspell(str(generator.choice(FRAMES)).format(text), generator)


def misspell(text: str, generator: np.random.Generator) -> str:
    """The text as hasty fingers leave it: letters swapped, dropped or doubled, capitals anywhere."""
    letters = list(text)
    for _ in range(int(generator.poisson(len(letters) / 18))):
        at = int(generator.integers(len(letters)))
        slip = generator.integers(3)
        if slip == 0 and at + 1 < len(letters):
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        elif slip == 1 and len(letters) > 1:
            del letters[at]
        else:
            letters.insert(at, letters[at])
    typed = "".join(letters)
    return {0: typed.upper(), 1: typed.capitalize()}.get(int(generator.integers(6)), typed)


def encode_image(pixels: NDArray[np.float64]) -> bytes:
    """The 8×8 pixels, 0 to 16 in the source, as a grey PNG of 0 to 255."""
    sink = io.BytesIO()
    Image.fromarray(np.round(pixels * (255 / 16)).astype(np.uint8)).save(sink, "PNG", optimize=True)
    return sink.getvalue()


def encode_sound(samples: NDArray[np.int16]) -> bytes:
    """Mono FLAC (not Ogg, whose stream numbers are random and would make every build another file)."""
    sink = io.BytesIO()
    soundfile.write(sink, (samples // 256).astype(np.float64) / 128, SAMPLE_RATE, format="FLAC", subtype="PCM_S8")
    return sink.getvalue()


if __name__ == "__main__":
    sys.exit(main())
