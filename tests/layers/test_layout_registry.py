"""When a forward is followed, and what is known of a layer's layout after it."""

from dataclasses import replace

from attnmon.capture import CallInfo, Layout
from attnmon.layers.layout_registry import FOLLOWED_FIRST, LayoutRegistry


def info(name: str, samples: int, inner: int = 2) -> CallInfo:
    layout = Layout(samples, 1, inner, tuple((0, head) for head in range(inner)))
    return CallInfo(name, 0, "softmax", inner, 4, 4, False, samples, layout=layout)


def test_one_sample_does_not_tell_the_order_of_several() -> None:
    known = LayoutRegistry()
    assert known.has_to_follow(1)
    known.add([info("blocks.0", 1)], samples=1)
    assert not known.has_to_follow(1)
    assert known.has_to_follow(3)
    for _ in range(FOLLOWED_FIRST):
        assert known.has_to_follow(3)
        known.add([info("blocks.0", 3)], samples=3)
    assert not any(map(known.has_to_follow, (1, 2, 3, 8)))


def test_an_order_that_has_changed_is_followed_each_time() -> None:
    """By Python, from call to call: nothing in the tensors' shapes tells it."""
    known = LayoutRegistry()
    heads_first = Layout(3, 2, 1, ((0, 0), (1, 0)))
    for number in range(FOLLOWED_FIRST):
        one = info("a", 3)
        known.add([replace(one, layout=heads_first) if number == 1 else one], samples=3)
    assert known.has_to_follow(3)


def test_a_layout_is_that_of_the_batch_and_of_modules_alike() -> None:
    known = LayoutRegistry()
    known.add([info("blocks.0", 3)], samples=3)
    for name in ("blocks.0", "blocks.7"):
        found = known.find(5, name, 0)
        assert isinstance(found, Layout)
        assert (found.samples, found.heads) == (5, 2)
    assert known.find(5, "other.0", 0) is None


def test_what_is_refused_stays_refused() -> None:
    known = LayoutRegistry()
    known.add([info("a", 3)], samples=3)
    known.refuse(("a", 0), "no map")
    assert known.find(3, "a", 0) == "no map"
    assert known.is_refused(("a", 0))
    assert known.has_refused("a")
    assert not known.has_refused("b")


def test_layouts_that_keep_changing_are_followed_each_time() -> None:
    known = LayoutRegistry()
    for _ in range(2):
        for _ in range(FOLLOWED_FIRST):
            known.add([info("a", 3)], samples=3)
        assert not known.has_to_follow(3)
        known.follow_again()
        assert known.has_to_follow(3)
    for _ in range(FOLLOWED_FIRST):
        known.add([info("a", 3)], samples=3)
    assert known.has_to_follow(3), "as with windows, of which there are as many as the length says"
