"""At which priority the renderer's processes run, and whether a core is free for them."""
