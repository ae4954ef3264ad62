"""Train a small encoder-decoder on real text and watch its attention find the alignment.

    python scripts/train_example.py --mode full              # every kind of picture
    python scripts/train_example.py --mode lightweight       # statistics only
    python scripts/train_example.py --mode custom            # the settings people change

The model reads English without case and spaces, and restores both:

    xpdbcontinueis  →  x Pdb continue is

To write the next character it has to know how far it has read, so its cross-attention turns, from
an even fog, into a diagonal that steps at every space. With ``--task reverse`` it spells words
backwards, and the diagonal runs the other way. The text comes with Python: nothing is downloaded.
"""

import argparse
import logging
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics
from shutil import which

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor

Monitor = TrainingAttentionMonitor | LightweightAttentionMonitor
Pair = tuple[str, str]

ATTNMON = (sys.executable, "-m", "attnmon")
SEED = 1
BATCH = 64
HELD_OUT = 64
LEARNING_RATE = 2e-3
LONGEST = 32
PADDING, START = 0, 1
ALPHABET = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
CHARACTERS = {character: index for index, character in enumerate(ALPHABET, start=START + 1)}
VOCABULARY = START + 1 + len(ALPHABET)


# -- the three monitors ----------------------------------------------------------------------------


def full(save_dir: str) -> Monitor:
    """Everything there is to see, of every layer, often: a minute is to tell the whole story."""
    return TrainingAttentionMonitor(
        save_dir=save_dir,
        save_frequency=20,
        visualization_types=[
            "heatmap",
            "multi_head",
            "layer_comparison",
            "animation",
            "statistics",
        ],
        layers_to_visualize="all",
        color_scale="fixed",  # pictures of different steps compare by colour
        max_overhead=None,  # so often is more than a long training should pay for
    )


def lightweight(save_dir: str) -> Monitor:
    """Statistics only: a history in JSON, and curves in TensorBoard beside the loss."""
    return LightweightAttentionMonitor(save_dir=save_dir, save_frequency=10)


def custom(save_dir: str) -> Monitor:
    """The settings that most people will want to change."""
    return TrainingAttentionMonitor(
        save_dir=save_dir,
        save_frequency=50,  # every 50 steps …
        save_on_epochs=[1, 2, 3],  # … and at the first step logged in these epochs
        visualization_types=["heatmap", "multi_head"],
        layers_to_visualize=[0, -1],  # the first and the last; "all" for every layer
        heads_to_visualize="all",  # or "average", or one head, or a list of heads
        batch_idx_to_visualize=0,  # which sample of the batch
        max_workers=1,  # processes that draw
        save_raw_weights=True,  # attention_weights.safetensors, for an analysis of one's own
        use_tensorboard=False,
    )


MODES: dict[str, Callable[[str], Monitor]] = {
    "full": full,
    "lightweight": lightweight,
    "custom": custom,
}


# -- data ------------------------------------------------------------------------------------------


def text_pairs(task: str) -> list[Pair]:
    """What is read and what is to be written, shuffled; the text is that of Python's own help."""
    words = re.findall(r"[A-Za-z]+", " ".join(topics.values()))
    if task == "reverse":
        pairs = [(word, word[::-1]) for word in sorted({word.lower() for word in words})]
    else:
        windows = sorted({" ".join(words[i : i + 4]) for i in range(len(words) - 3)})
        pairs = [(window.replace(" ", "").lower(), window) for window in windows]
    pairs = [pair for pair in pairs if 3 < len(pair[1]) < LONGEST]
    random.Random(SEED).shuffle(pairs)
    return pairs


def encode(texts: list[str]) -> Tensor:
    """Characters to numbers, [texts, characters of the longest], padded at the end."""
    rows = [torch.tensor([CHARACTERS[character] for character in text]) for text in texts]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING)


def decode(characters: list[int]) -> str:
    return "".join(ALPHABET[index - START - 1] for index in characters if index > START)


def as_batch(pairs: list[Pair]) -> tuple[Tensor, Tensor, Tensor]:
    """What is read, what is written so far, and what is to be written next."""
    target = encode([written for _, written in pairs])
    start = torch.full((len(pairs), 1), START)
    return encode([read for read, _ in pairs]), torch.cat([start, target[:, :-1]], dim=1), target


def batches(pairs: list[Pair]) -> Iterator[tuple[int, list[Pair]]]:
    """Epoch, counted from 1, and the pairs of a batch, without end; the same ones in each run."""
    dice = random.Random(SEED)
    epoch = 0
    while True:
        epoch += 1
        dice.shuffle(pairs)
        for first in range(0, len(pairs) - BATCH + 1, BATCH):
            yield epoch, pairs[first : first + BATCH]


# -- model -----------------------------------------------------------------------------------------


class Speller(nn.Module):
    """`nn.Transformer` as it is, with characters and positions embedded."""

    def __init__(self, width: int = 96, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.character = nn.Embedding(VOCABULARY, width, padding_idx=PADDING)
        self.position = nn.Embedding(LONGEST, width)
        self.transformer = nn.Transformer(
            width, heads, layers, layers, dim_feedforward=2 * width, dropout=0.0, batch_first=True
        )
        self.logits = nn.Linear(width, VOCABULARY)

    def forward(self, read: Tensor, written: Tensor) -> Tensor:
        """Logits of the next character, [batch, characters, vocabulary]."""
        length = written.shape[1]
        future = torch.ones(length, length, dtype=torch.bool, device=written.device).triu(1)
        padding = read == PADDING
        state = self.transformer(
            self.embed(read),
            self.embed(written),
            tgt_mask=future,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        logits: Tensor = self.logits(state)
        return logits

    def embed(self, characters: Tensor) -> Tensor:
        embedded: Tensor = self.character(characters) + self.position.weight[: characters.shape[1]]
        return embedded


@torch.no_grad()
def spell(model: Speller, text: str, length: int) -> str:
    """What the model makes of `text`, character by character."""
    read, written = encode([text]), torch.tensor([[START]])
    for _ in range(length):
        following = model(read, written)[:, -1:].argmax(dim=-1)
        written = torch.cat([written, following], dim=1)
    return decode(written[0].tolist())


# -- training --------------------------------------------------------------------------------------


def train(task: str, monitor: Monitor, seconds: float, steps: int | None) -> Speller:
    """Train until the time is up or, where they are given, all `steps` are done."""
    torch.manual_seed(SEED)
    pairs = text_pairs(task)
    held_out, pairs = pairs[:HELD_OUT], pairs[HELD_OUT:]
    model = Speller()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)

    # The same text at every step, so that its pictures can be compared; it is never trained on.
    watched = max(held_out, key=lambda pair: len(pair[1]))
    watched_read, watched_written, _ = as_batch([watched])
    characters = tuple(watched[0]), ("start", *watched[1][:-1].replace(" ", "␣"))

    started = time.monotonic()
    for step, (epoch, batch) in enumerate(batches(pairs)):
        read, written, target = as_batch(batch)
        logits = model(read, written)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PADDING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        monitor.log_attention(
            model, watched_read, watched_written, step, loss.item(), epoch=epoch, tokens=characters
        )

        elapsed = time.monotonic() - started
        done = elapsed >= seconds if steps is None else step + 1 >= steps
        if step % 50 == 0 or done:
            report(step, elapsed, loss, logits, target)
            print(f"    {watched[0]} → {spell(model, watched[0], len(watched[1]))}")
        if done:
            break
    return model


def report(step: int, elapsed: float, loss: Tensor, logits: Tensor, target: Tensor) -> None:
    real = target != PADDING
    right = (logits.argmax(dim=-1) == target)[real].float().mean()
    print(f"step {step:4d}  {elapsed:3.0f} s  loss {loss.item():.3f}  characters right {right:.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Watch a transformer learn an alignment.")
    parser.add_argument("--mode", choices=sorted(MODES), default="full")
    parser.add_argument("--task", choices=["restore", "reverse"], default="restore")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to train")
    parser.add_argument("--steps", type=int, help="how many steps to train instead")
    parser.add_argument("--save-dir", default="./attention_logs")
    given = parser.parse_args()

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    monitor = MODES[given.mode](given.save_dir)
    train(given.task, monitor, given.seconds, given.steps)
    accounts = monitor.close()

    print("\nThe accounts, also in summary.json:")
    for name in ("captured", "rendered", "dropped", "failed", "hook_seconds"):
        print(f"    {name:14}{accounts[name]:g}")
    where_to_look(Path(given.save_dir))


def where_to_look(save_dir: Path) -> None:
    pictures = sorted(save_dir.glob("*step_*/decoder_layer1_cross_attn.png"), key=step_of)
    animation = save_dir / "animations" / "decoder_layer1_cross_attn.png"
    report = save_dir / "report.html"
    subprocess.run([*ATTNMON, "report", save_dir], stdout=subprocess.DEVNULL, check=True)
    print("\nWhere to look, in a browser:")
    print(f"    the whole run            {report}")
    if animation.exists():
        print(f"    the diagonal appearing   {animation}")
    if pictures:
        print(f"    first and last picture   {pictures[0]}\n{'':29}{pictures[-1]}")
    print("\nWhat to type next:")
    print(f"    how the run stands       {command('attnmon')} status {save_dir}")
    needed = "" if find_spec("starlette") else "    (pip install starlette uvicorn)"
    print(f"    any map, in a browser    {command('attnmon')} view {save_dir}{needed}")
    if (save_dir / "tensorboard").exists():
        how = command("tensorboard") if find_spec("tensorboard") else "tensorboard"
        missing = "" if find_spec("tensorboard") else "    (pip install tensorboard)"
        print(f"    curves beside the loss   {how} --logdir {save_dir / 'tensorboard'}{missing}")


def command(name: str) -> str:
    """How to call a program of this Python's environment from where one stands."""
    if which(name):
        return name
    program = Path(sys.executable).parent / name
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)


def step_of(picture: Path) -> int:
    return int(picture.parent.name.rpartition("_")[2])


if __name__ == "__main__":
    main()
