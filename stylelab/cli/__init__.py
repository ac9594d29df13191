"""The command line, `stylelab`. Nothing imports it."""
