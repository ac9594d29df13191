"""Small networks for large ones: `vgg19-mini`, trained, and 8 bits. `cli`, `tools/` import it."""
