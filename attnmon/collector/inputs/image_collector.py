"""Collects the image of the captured sample, and what layers see its patches."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from attnmon.accounting.error_guard import comes_from_signal_handler, words_of
from attnmon.capture import Inputs
from attnmon.config.settings import Settings
from attnmon.layers.image_patches import NoPatches, PatchCut, find_cuts, patched_layer
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.link.records.sample_image import PatchedLayer, SampleImage
from attnmon.serialize.capture_builder import CaptureBuilder, RingFull, TooLarge
from attnmon.serialize.small_image import Image, NoImage, SmallImage, is_plain, small_image
from attnmon.session.session import Session

KINDS = ("image_overlay", "rollout_overlay")
"""The kinds of pictures that show the image."""


class ImageCollector:
    """Takes the image out of a forward's inputs, or what the user gives in its place.

    What is wrong with an image costs a warning and the pictures of it, never the capture.
    """

    def __init__(self, settings: Settings, session: Session, registry: LayerRegistry) -> None:
        self._session = session
        self._is_wanted = not {*KINDS}.isdisjoint(settings.pictures)
        self._grid = settings.patch_grid
        self._registry = registry
        self._model: Callable[[], nn.Module | None] = lambda: None
        self._cuts: tuple[PatchCut, ...] = ()

    def look_at(self, inputs: Inputs, builder: CaptureBuilder) -> None:
        """Keep the image among the inputs of the forward that is captured, if one is wanted.

        At once, since the tensors may be written to before the step is logged.
        """
        if self._is_wanted and not builder.retained:
            builder.seen_image = self._tried(lambda: self._seen(inputs, builder.sample))

    def write(self, builder: CaptureBuilder, given: Image) -> None:
        """Write the image that was given, or else the one that was seen, if there is room for it.

        Raises `ChannelClosed`.
        """
        if not self._is_wanted or builder.retained or not builder.attentions:
            return
        made = self._tried(lambda: self._chosen(builder, given))
        if made is None:
            return
        image, layers = made
        try:
            pixels = self._session.serializer.ring_writer.write_bytes(image.pixels, builder)
        except (RingFull, TooLarge) as full:
            self._session.guard.warn_once("no room for the image", f"{_NO_ROOM}: {full}.")
            return
        builder.image = SampleImage(pixels, image.is_stretched, layers)

    def _tried(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except (NoImage, NoPatches) as reason:
            self._say(str(reason))
        except Exception as error:
            if comes_from_signal_handler(error.__traceback__):
                raise
            self._say(words_of(error))
        return None

    def _say(self, why: str) -> None:
        self._session.guard.warn_once("image", f"no attention is laid over the image: {why}.")

    def _seen(self, inputs: Inputs, sample: int) -> SmallImage | None:
        images = [given for given in inputs if _is_batch_of_images(given)]
        if not images:
            return None
        if len(images) > 1:
            raise NoImage(
                f"the model is given {len(images)} batches of images; say which by image="
            )
        (image,) = images
        others = {len(given) for given in inputs if given.ndim} - {1, len(image)}
        if others:
            raise NoImage(
                f"the model is given {len(image)} images for {others.pop()} samples; say by image= "
                "which is the sample's"
            )
        return small_image(image, min(sample, len(image) - 1), self._patch())

    def _chosen(
        self, builder: CaptureBuilder, given: Image
    ) -> tuple[SmallImage, tuple[PatchedLayer, ...]]:
        seen = builder.seen_image
        if given is None and seen is None:
            raise NoImage(_NONE)
        image = seen if given is None else small_image(given, builder.sample, self._patch())
        assert image is not None
        if image.sample != builder.sample:
            raise NoImage(f"it is of sample {image.sample}, the attention of {builder.sample}")
        if seen is not None and _is_distorted(image.size, seen.size):
            raise NoImage(
                f"it has {image.size[0]} × {image.size[1]} pixels, and what the model saw "
                f"{seen.size[0]} × {seen.size[1]}. Give it cropped as the model sees it"
            )
        return image, self._layers(builder, (seen or image).size)

    def _layers(self, builder: CaptureBuilder, size: tuple[int, int]) -> tuple[PatchedLayer, ...]:
        """Return the layers that see the patches. Raises `NoPatches` if there is none."""
        layers, reason = [], None
        for attention in builder.attentions:
            try:
                layers.append(patched_layer(attention, self._known_cuts(), size, self._grid))
            except NoPatches as refusal:
                reason = reason or refusal
        if reason is not None and not layers:
            raise reason
        return tuple(layers)

    def _patch(self) -> tuple[int, int]:
        """Return the size of the patches; (1, 1) where the model does not tell one."""
        patches = {cut.patch for cut in self._known_cuts()}
        return (patches.pop() or (1, 1)) if len(patches) == 1 else (1, 1)

    def _known_cuts(self) -> Iterable[PatchCut]:
        """Return how the model cuts images; looked for once a model."""
        model = self._registry.model
        if model is None:
            return (PatchCut("", None, 0, 0, None),)
        names = {name for name, _ in self._registry.call_infos}
        if self._model() is not model:
            self._cuts = find_cuts(model, names)
            if names:
                self._model = weakref.ref(model)
        return self._cuts


def _is_batch_of_images(given: Any) -> bool:
    return (
        isinstance(given, Tensor)
        and is_plain(given)
        and given.ndim == 4
        and given.shape[1] in (1, 3)
        and (given.is_floating_point() or given.dtype == torch.uint8)
        and len(given) > 0
    )


def _is_distorted(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two images differ in their ratio of height to width by more than 2 %."""
    return abs(one[0] * other[1] - one[1] * other[0]) > 0.02 * one[1] * other[0]


_NO_ROOM = (
    "the capture of a step goes without its image, so that no attention is laid over it there"
)
_NONE = (
    "among the model's inputs is no tensor [samples, 1 or 3, rows, columns]. Give "
    "log_attention(..., image=...) the batch of images, or that of the sample"
)
