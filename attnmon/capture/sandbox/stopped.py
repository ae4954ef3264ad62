"""What is raised in an extra forward that would have changed something."""

from attnmon.capture.sandbox.other_threads import ReachingThread


class ForwardStopped(BaseException):
    """An extra forward that was stopped, or that changed what cannot be put back.

    It is no `Exception`, so that a model which catches those does not go on as if nothing were.
    """

    def __init__(self, action: str, module: str) -> None:
        """action: what it would have done, as "would have written to …"; module: where."""
        super().__init__(f"{action}, in {module or 'the model itself'}")
        self.action = action
        self.module = module


class ThreadReaches(ForwardStopped):
    """An extra forward that was not made, because another thread could change what it puts back."""

    def __init__(self, thread: ReachingThread) -> None:
        self.action = (
            f"may not be made while the thread {thread.name!r} runs, which {thread.danger}"
        )
        self.module = ""
        self.thread = thread
        BaseException.__init__(self, self.action)
