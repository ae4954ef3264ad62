"""Judges how a run stands: a sentence for each thing that is wrong."""

from attnmon_renderer.storage.run_reader import Run
from attnmon_renderer.terminal import counted, harmless


def find_troubles(recorded: Run) -> list[str]:
    """Return a sentence for each thing that is wrong; empty if all is well."""
    troubles = [*recorded.damages]
    if recorded.state == "trainer lost":
        troubles.append("the training process ended without closing the monitor")
    if off := recorded.summary.get("off"):
        troubles.append(f"the monitor is off: {harmless(off)}")
    alive = recorded.processes().values()
    if not recorded.has_ended and not any(each is not False for each in alive):
        troubles.append(
            f"the state is {recorded.state!r}, but none of the renderer's processes is alive"
        )
    if failed := recorded.count("failed"):
        troubles.append(f"{counted(failed, 'capture')} failed")
    steps = recorded.count("steps")
    if (
        recorded.has_ended
        and not recorded.count("captured")
        and steps > recorded.count("interval") > 0
    ):
        logged = f"{counted(steps, 'step')} were logged"
        troubles.append(f"{logged} and none was captured; the warnings say why")
    return troubles
