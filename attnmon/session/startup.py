"""Opens the connection to a renderer: its directory, the ring, the process and its settings."""

import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from attnmon._version import __version__
from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.accounting.stand_in_summary import write_summary
from attnmon.capture import fingerprint
from attnmon.config.run_config import HIDDEN, command_without_secrets
from attnmon.config.settings import Settings
from attnmon.link import directory_lock
from attnmon.link.channel import CLOSED_BY_OTHERS, ChannelClosed
from attnmon.link.records.run_setup import (
    Launch,
    Mirror,
    ModelPlace,
    Notification,
    RenderOptions,
    Setup,
)
from attnmon.link.ring import DEFAULT_BYTES, MOST_BYTES, SLOT_BYTES, Ring, make_ring
from attnmon.serialize.serializer import CaptureSerializer
from attnmon.session import renderer_process
from attnmon.session.attached_renderer import AttachedRenderer, attach
from attnmon.session.producer import Producer
from attnmon.session.renderer_process import LaunchError, RendererProcess
from attnmon.session.run_directory import RunDirectory, claim_directory, describe_strangers


class NotOpened(Exception):
    """There is no renderer to draw anything; the message says why."""

    def __init__(self, reason: str, folder: Path | None = None) -> None:
        """`folder`: the run's, if it was this monitor's already."""
        super().__init__(reason)
        self.folder = folder


@dataclass(eq=False)
class Connection:
    """What a session owns while it runs; none of it is a forked child's."""

    settings: Settings
    """The user's settings, with the directory that is really written to."""
    directory: RunDirectory
    renderer: RendererProcess | AttachedRenderer
    producer: Producer
    serializer: CaptureSerializer

    def end_unused(self) -> bool:
        """End a renderer that was never given anything, without waiting until it has started.

        False where it cannot be: it is also others', it is lost already, or it is still to learn
        that the directory is its own.
        """
        is_sole = self.directory.number == directory_lock.FIRST
        if self.producer.lost or not is_sole or not isinstance(self.renderer, RendererProcess):
            return False
        self.renderer.end_at_once()
        return True

    def abandon(self) -> None:
        """Close the descriptors, and leave the renderer alone; in a forked child, or at the end."""
        self.renderer.abandon()
        self.producer.abandon()
        self.directory.close()

    def close(self) -> None:
        """Close the descriptors and unpin the ring, whose memory goes with the last reference."""
        self.abandon()
        self.serializer.ring_writer.device_copies.unpin()
        if self.serializer.summaries is not None:
            self.serializer.summaries.close()


def open_connection(chosen: Settings, counters: Counters, guard: ErrorGuard) -> Connection:
    """Claim the directory, make the ring, start or join a renderer, and send it its settings.

    Waits for nothing. Raises `NotOpened`, and leaves nothing open then.
    """
    if os.name != "posix":
        raise NotOpened(f"{platform.system()} is not supported yet")
    folder: Path | None = None
    with ExitStack() as on_failure:
        try:
            started = time.time()
            directory = claim_directory(chosen.save_dir, started, chosen.mode)
            on_failure.callback(directory.close)
            if directory.path != chosen.save_dir:
                guard.warn_once("directory", _in_use(chosen, directory))
            if strangers := describe_strangers(directory.path):
                guard.warn_once("strangers", strangers)
            folder = directory.path
            settings = replace(chosen, save_dir=folder)
            if settings.renderer == "own":
                renderer_process.require_python()  # before anything that might start a process
            ring = _ring(settings.ring_bytes)
            on_failure.callback(ring.close_descriptor)
            renderer = _renderer(settings.renderer)
            on_failure.callback(renderer.abandon)
            wait, keep_last = settings.on_full == "wait", settings.keep_last
            producer = Producer(ring, renderer.channel, counters, wait=wait, keep_last=keep_last)
            setup = replace(
                _setup(settings, ring, started, directory),
                mirror=_mirror(chosen, directory.path),
                model_place=_model_place(settings),
            )
            if isinstance(renderer, RendererProcess) and directory.number == directory_lock.FIRST:
                accounts = {**counters.all_figures(), **guard.remarks.figures()}
                _make_visible(setup, settings, accounts, renderer)
            _send_setup(producer, setup, directory, renderer)
        except (LaunchError, OSError) as error:
            raise NotOpened(str(error), folder) from error
        on_failure.pop_all()
    directory.close_writing()
    return Connection(settings, directory, renderer, producer, _serializer(ring, guard, settings))


def describe_loss(renderer: RendererProcess | AttachedRenderer) -> str:
    """Return why there is no renderer any more, with the last line that it wrote."""
    if renderer.channel.was_taken:
        return CLOSED_BY_OTHERS
    words = renderer.last_words()
    return "the renderer has gone" + (f" ({words})" if words else "")


def _make_visible(
    setup: Setup, settings: Settings, accounts: dict[str, Any], renderer: RendererProcess
) -> None:
    """Have a run in the directory at once, whenever the renderer will get to writing there.

    Only where it is sure to write: one that was joined may refuse, and one whose turn it is not yet
    leaves the directory to the other that still writes.
    """
    if setup.may_hold_run:
        directory_lock.keep_summary(settings.save_dir)
    about = {"started": setup.started, "ring": setup.ring_kind, "versions": dict(setup.versions)}
    pids = [renderer.process.pid]
    write_summary(settings.save_dir, "running", accounts | about, pids, settings.mode)


def _send_setup(
    producer: Producer,
    setup: Setup,
    directory: RunDirectory,
    renderer: RendererProcess | AttachedRenderer,
) -> None:
    try:
        producer.send_setup(setup, directory.writing)
    except ChannelClosed as error:
        raise NotOpened(describe_loss(renderer)) from error


def _serializer(ring: Ring, guard: ErrorGuard, settings: Settings) -> CaptureSerializer:
    summarised = _render_options(settings) if settings.on_device else None
    return CaptureSerializer(ring, guard, summarised)


def _ring(nbytes: int | None) -> Ring:
    return make_ring(DEFAULT_BYTES, MOST_BYTES) if nbytes is None else make_ring(nbytes)


def _renderer(where: str) -> RendererProcess | AttachedRenderer:
    """Start one ("own"), or join one: at the usual socket ("attach"), or at this one."""
    if where == "own":
        return renderer_process.start()
    return attach("" if where == "attach" else where)


def _setup(settings: Settings, ring: Ring, started: float, directory: RunDirectory) -> Setup:
    return Setup(
        save_dir=str(settings.save_dir),
        options=_render_options(settings),
        ring_bytes=ring.nbytes,
        slot_bytes=SLOT_BYTES,
        trainer_pid=os.getpid(),
        workers=settings.max_workers,
        rank=settings.rank,
        world_size=settings.world_size,
        versions=(
            ("attnmon", __version__),
            ("python", platform.python_version()),
            ("torch", torch.__version__),
        ),
        keep_last=settings.keep_last,
        disk_budget=settings.disk_budget,
        cpus=settings.renderer_cpus,
        started=started,
        ring_kind=ring.backend,
        turn=directory.number,
        launch=_launch(settings),
        alerts=settings.alerts,
        notification=Notification(settings.notify, settings.notify_level, settings.notify_pictures),
        may_hold_run=directory.may_hold_run,
        mode=settings.mode,
    )


def _model_place(settings: Settings) -> ModelPlace | None:
    place = settings.coordinates
    if settings.ranks != "model" or place is None:
        return None
    return ModelPlace(place.pipeline, place.tensor)


def _mirror(chosen: Settings, folder: Path) -> Mirror | None:
    """Return where a run is uploaded to; one below the user's directory has its place below."""
    if chosen.mirror is None:
        return None
    base = chosen.save_dir if chosen.ranks == "zero" else chosen.save_dir.parent
    below = folder.relative_to(base).parts
    return Mirror("/".join((chosen.mirror, *below)), chosen.mirror_grace)


def _launch(settings: Settings) -> Launch:
    try:
        directory = os.getcwd()
    except OSError:  # it was removed
        directory = ""
    command = command_without_secrets(_without(settings.notify, sys.orig_argv))
    probe = None if settings.probe is None else fingerprint(settings.probe) or ""
    return Launch(command, directory, settings.config, probe)


def _without(secret: str, arguments: Sequence[str]) -> list[str]:
    return [each.replace(secret, HIDDEN) if secret else each for each in arguments]


def _render_options(settings: Settings) -> RenderOptions:
    return RenderOptions(
        pictures=settings.pictures,
        heads=settings.heads_to_visualize,
        statistics_files=settings.statistics_files,
        raw_weights=settings.save_raw_weights,
        tensorboard=settings.use_tensorboard,
        statistics_queries=settings.statistics_queries,
        pooling=settings.pooling,
        image_format=settings.image_format,
        color_top=1.0 if settings.color_scale == "fixed" else None,
        pack=settings.pack,
        maps=settings.maps,
        maps_side=settings.maps_side,
    )


def _in_use(chosen: Settings, directory: RunDirectory) -> str:
    return (
        f"another monitor is writing to {chosen.save_dir}, so this one writes to {directory.path}. "
        "Give each monitor a save_dir of its own to choose the name."
    )
