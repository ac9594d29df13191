"""The hooks that every optimisation on a loaded network gets, the innermost first."""

from stylelab.engine.checkpoint import keep_in_named_folder
from stylelab.engine.heap import keep_freed_memory
from stylelab.engine.memory import warn_if_short
from stylelab.engine.tiled import InTiles

HOOKS = (keep_freed_memory, keep_in_named_folder, warn_if_short, InTiles())
