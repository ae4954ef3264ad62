"""What the user is told of labels that no font on this machine can draw."""

from attnmon.link.messages import Capture
from attnmon.link.records.run_setup import RenderOptions

Notices = tuple[tuple[str, str], ...]
"""(kind, text) of what the user should be told, once a kind."""


def missing_font_notices(options: RenderOptions, capture: Capture) -> Notices:
    """Return what to install for the capture's labels, if there are pictures and a font lacks."""
    stacks = (capture.encoder_tokens, capture.decoder_tokens)
    if not options.pictures or all(token.isascii() for tokens in stacks for token in tokens):
        return ()
    from attnmon_renderer.drawing.spec.page import Font
    from attnmon_renderer.drawing.text.font_advice import describe_missing, font_packages
    from attnmon_renderer.drawing.text.fonts import missing_characters
    from attnmon_renderer.tokens.token_text import readable

    labels = [label for tokens in stacks for label in readable(tokens)]
    missing = missing_characters(labels, Font(20))
    if not missing:
        return ()
    return ((f"fonts {' '.join(font_packages(missing))}", describe_missing(missing)),)
