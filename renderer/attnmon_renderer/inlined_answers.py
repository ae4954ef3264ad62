"""What a document has in place of a server: what the live page asks for, and codes of maps."""

import base64
import json
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from attnmon.link.records.attention_record import Stack
from attnmon_renderer.html_parts import inert_json
from attnmon_renderer.maps.map_blocks import MapBlock
from attnmon_renderer.sinks.statistics_json import to_json
from attnmon_renderer.tokens.token_text import readable


class InlinedAnswers:
    """The answers, by what is asked. Texts and masks that come again and again are there once."""

    def __init__(self) -> None:
        self._answers: dict[str, str] = {}
        self._captures: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, int] = {}
        self._masks: dict[bytes, int] = {}
        self._pieces: list[str] = []
        self._end = 0

    def add(self, path: str, answer: Any) -> None:
        """Add an answer of JSON, or a text."""
        self._answers[path] = answer if isinstance(answer, str) else to_json(answer)

    def add_capture(
        self,
        path: str,
        about: Mapping[str, Any],
        tokens: Mapping[Stack, Sequence[str]],
        layers: Mapping[str, MapBlock],
    ) -> None:
        """Add a capture, its layers' maps by stem."""
        rows, thumbs = [], 0
        for stem, block in layers.items():
            shape = [len(block.about["heads"]), block.about["rows"], block.about["columns"]]
            piece = base64.b64encode(block.content).decode()
            row = {
                "stem": stem,
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
            rows.append(row)
        text = to_json({stack: readable(known) for stack, known in tokens.items()} or None)
        number = self._texts.setdefault(text, len(self._texts))
        self._captures[path] = {**about, "text": number, "layers": rows, "pictures": []}

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
