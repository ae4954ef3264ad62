"""What is not captured is told as it stands: each change replaces what was told before."""

from torch import nn

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture.model.silent_modules import NOTHING_TOLD
from attnmon.layers.unseen_layers import UnseenLayers


def test_the_error_guard_is_told_of_each_change() -> None:
    guard, seen = ErrorGuard(), ["attention"]
    unseen = UnseenLayers(guard, lambda: seen)
    model = nn.ModuleDict(
        {name: nn.MultiheadAttention(4, 2) for name in ("attention", "other", "third")}
    )
    unseen.find_silent(model)
    silent = [f"other: {NOTHING_TOLD}", f"third: {NOTHING_TOLD}"]
    assert [*guard.remarks.not_seen] == silent
    unseen.refuse("third", "why")
    unseen.set_missed("it never came")
    assert [*guard.remarks.not_seen] == ["third: why", silent[0], "the model: it never came"]
    seen.append("other")
    unseen.set_missed("")
    assert [*guard.remarks.not_seen] == ["third: why"]
    unseen.forget_refused(lambda name: name == "third")
    assert unseen.rows() == [("third", "why")]
    unseen.forget_refused()
    assert [*guard.remarks.not_seen] == silent[1:]
    unseen.clear()
    assert (unseen.rows(), guard.remarks.not_seen) == ([], ())
