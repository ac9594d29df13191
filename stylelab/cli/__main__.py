"""`python -m stylelab.cli` is `stylelab`."""

from stylelab.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
