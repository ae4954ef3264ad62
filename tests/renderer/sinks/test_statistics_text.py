"""A capture's numbers as JSON: encoded once, and the same in the file and in the history."""

import json
import math
from dataclasses import replace
from typing import Any

from attnmon_renderer.analysis.layer_statistics import LayerStatistics
from attnmon_renderer.results import (
    LayerResult,
    Results,
    read_from_descriptor,
    write_to_descriptor,
)
from attnmon_renderer.sinks.statistics_json import StatisticsText, document

HEADS = {"entropy": [0.5, math.nan], "max_logit": [1.0, math.inf]}
STATISTICS = LayerStatistics(0.5, 0.25, 0.0, 1.0, HEADS, 1e-7, 3, None)
CROSS = LayerResult(
    "decoder", 1, "cross_attention", STATISTICS, (2, 3, 4), 'dec"\u00e9.1\udcff', "softmax", (0, 5)
)
SELF = replace(CROSS, stack="encoder", type="self_attention", layer=0, note="a\nb", error=1e-9)
RESULTS = Results("step_7", 7, 1.5, epoch=2, loss=math.nan, rank=3, layers=[CROSS, SELF])


def plain(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not strict JSON")

    return json.loads(text.encode(), parse_constant=refuse)


def test_the_file_and_the_line_say_the_same() -> None:
    text = StatisticsText(RESULTS)
    assert plain(text.file()) == plain(text.line())
    assert text.line().count("\n") == 1
    assert text.file().endswith("}\n")
    assert plain(text.line('no "room"')) == {**plain(text.line()), "error": 'no "room"'}


def test_they_hold_the_document_without_what_is_no_number() -> None:
    found = plain(StatisticsText(RESULTS).line())
    assert list(found) == ["metadata", "encoder", "decoder"]
    assert (found["metadata"]["step"], found["metadata"]["loss"]) == (7, None)
    (row,) = found["decoder"]
    assert row["heads"] == {"entropy": [0.5, None], "max_logit": [1.0, None]}
    assert (row["shape"], row["head_indices"], row["non_finite"]) == ([2, 3, 4], [0, 5], 3)
    assert (found["encoder"][0]["note"], found["encoder"][0]["error"]) == ("a\nb", 1e-9)
    assert row.keys() == document(RESULTS)["decoder"][0].keys()


def test_a_capture_without_layers_is_whole() -> None:
    empty = replace(RESULTS, layers=[])
    for text in (StatisticsText(empty).file(), StatisticsText(empty).line()):
        assert (plain(text)["encoder"], plain(text)["decoder"]) == ([], [])


def test_results_arrive_as_they_were_sent() -> None:
    sent = replace(RESULTS, loss=0.5, layers=[replace(SELF, name="m")])
    arrived = read_from_descriptor(write_to_descriptor(sent))
    assert repr(arrived) == repr(sent)
