"""The playground and the lecture page, for notebooks. Only `cli` may import it."""
