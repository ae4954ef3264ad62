"""What a document has in place of a server: what the live page asks for, and codes of maps."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

from attnmon.link.records.alert import Alert
from attnmon.link.records.attention_record import Stack
from attnmon_renderer.html_parts import inert_json
from attnmon_renderer.maps.map_blocks import MapBlock
from attnmon_renderer.sinks.statistics_json import to_json
from attnmon_renderer.tokens.token_text import readable


class InlinedAnswers:
    """The answers, by what is asked. Texts and masks that come again and again are there once."""

    def __init__(self) -> None:
        self._answers: dict[str, str] = {}
        self._runs: list[dict[str, str]] = []
        self._captures: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, int] = {}
        self._masks: dict[bytes, int] = {}
        self._pieces: list[str] = []
        self._end = 0

    def add(self, path: str, answer: Any) -> None:
        """Add an answer of JSON, or a text."""
        self._answers[path] = answer if isinstance(answer, str) else to_json(answer)

    def add_run(
        self, run: str, title: str, history: str = "", alerts: Sequence[Alert] = ()
    ) -> None:
        """Add a run, after its captures; `history` has lines as they are in `history.jsonl`."""
        captures = [
            {**capture, "layers": [], "folder": capture["c"], "maps": True}
            for path, capture in self._captures.items()
            if path.startswith(f"runs/{run}/")
        ]
        told = {"run": {}, "captures": captures, "alerts": [alert.fields() for alert in alerts]}
        self._runs.append({"id": run, "title": title})
        self.add("runs", self._runs)
        self.add(f"runs/{run}", told)
        self.add(f"runs/{run}/history", history)

    def add_capture(
        self,
        run: str,
        metadata: Mapping[str, Any],
        tokens: Mapping[Stack, Sequence[str]],
        layers: Iterable[MapBlock],
    ) -> None:
        """Add a capture, and the maps of its layers. `metadata` has its step, epoch and loss."""
        text = to_json({stack: readable(tuple(known)) for stack, known in tokens.items()} or None)
        key = str(len(self._captures))
        self._captures[f"runs/{run}/captures/{key}"] = {
            "c": key,
            **metadata,
            "text": self._texts.setdefault(text, len(self._texts)),
            "layers": list(self._packed(layers)),
            "pictures": [],
        }

    def _packed(self, layers: Iterable[MapBlock]) -> Iterable[dict[str, Any]]:
        thumbs = 0
        for block in layers:
            shape = [len(block.about["heads"]), block.about["rows"], block.about["columns"]]
            piece = base64.b64encode(block.content).decode()
            yield {
                **block.about,
                "thumbs_at": thumbs,
                "thumbs_shape": shape,
                "allowed_shape": [1, *shape[1:]],
                "mask": self._masks.setdefault(block.allowed, len(self._masks)),
                "at": self._end,
                "length": len(piece),
            }
            thumbs += prod(shape)
            self._end += len(piece)
            self._pieces.append(piece)

    def elements(self) -> str:
        """Return the elements of the document."""
        told = inert_json(
            {
                "answers": self._answers,
                "captures": self._captures,
                "texts": [json.loads(text) for text in self._texts],
                "masks": [base64.b64encode(mask).decode() for mask in self._masks],
            },
            allow_nan=False,
        )
        return (
            f'<script type="application/json" id="answers">{told}</script>\n'
            f'<script type="text/plain" id="codes">{"".join(self._pieces)}</script>'
        )
