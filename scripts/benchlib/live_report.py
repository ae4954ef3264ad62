"""Shows the figures of a live benchmark: a table, for a terminal and for a document, and a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchlib.live_rows import Row

REGIMES = {"saturated": "every core busy", "spare_core": "a core to spare"}
DESIGNS = {
    "none": ("no monitor", "tab:gray"),
    "attnmon": ("attnmon", "tab:green"),
    "thread_pool": ("a pool of threads", "tab:orange"),
    "in_loop": ("add_figure in the loop", "tab:red"),
}
BEGIN, END = "<!-- bench_live begins -->\n", "<!-- bench_live ends -->\n"
HEADING = (
    "| | step | training lost (95 %) | first picture | newest picture's age, worst | drawn |\n"
    "|---|---|---|---|---|---|\n"
)


def table(found: dict[str, Any]) -> str:
    """Return the table, in Markdown, with a line on where and how long it was measured."""
    rows = found["rows"]
    longest = max(row["seconds"] for row in found["rows"])
    about = f"{found['machine']}; attnmon ran for {longest:.0f} s with every core busy.\n"
    return f"{HEADING}{''.join(map(_line, rows))}\n{about}"


def _line(row: Row) -> str:
    name = f"{DESIGNS[row['design']][0]}, {REGIMES[row['regime']]}"
    lost = f"{row['lost']:+.1%} ({row['low']:+.1%} … {row['high']:+.1%})"
    if row["start_seconds"] is not None:
        lost = f"{row['start_seconds']:.1f} s once, then {lost}"
    first, age = (
        "none while it trains" if row[key] is None else f"{row[key]:.1f} s"
        for key in ("first_picture", "worst_age")
    )
    drawn = f"{row['drawn']} of {row['captures']}"
    return f"| {name} | {row['step_ms']:.1f} ms | {lost} | {first} | {age} | {drawn} |\n"


def renew(document: Path, found: dict[str, Any]) -> None:
    """Replace the table in a document by one of these figures."""
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}{table(found)}{END}{after}")


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw how much longer a training takes with each design, on one axis."""
    figure = Figure(figsize=(8.0, 3.8), layout="constrained")
    ax = figure.subplots()
    gaps = [row["regime"] != rows[0]["regime"] for row in rows]
    places = [index + gap for index, gap in enumerate(gaps)]
    for place, row in zip(places, rows, strict=True):
        _bar(ax, place, row)
    ax.set_yticks(places, [DESIGNS[row["design"]][0] for row in rows])
    for regime in dict.fromkeys(row["regime"] for row in rows):
        first = next(at for at, row in zip(places, rows, strict=True) if row["regime"] == regime)
        ax.text(1.0, first, REGIMES[regime], transform=ax.get_yaxis_transform(), ha="right")
    ax.invert_yaxis()
    ax.margins(x=0.16)
    ax.set_xlabel("how much longer training takes, %; thin lines: 95 % interval")
    ax.set_title("15 pictures every 50 steps, drawn while training runs", loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _bar(ax: Axes, place: int, row: Row) -> None:
    lost, low, high = (100 * row[key] for key in ("lost", "low", "high"))
    ax.barh(place, lost, color=DESIGNS[row["design"]][1], height=0.7)
    ax.hlines(place, low, high, color="black", linewidth=1)
    if row["design"] == "none":
        return  # by definition nothing: its interval tells how much the machine varies
    label = f"{lost:+.1f} %" if abs(lost) < 10 else f"{lost:+.0f} %"
    end = max(lost, high, 0)
    ax.annotate(label, (end, place), (5, 0), textcoords="offset points", va="center", weight="bold")
